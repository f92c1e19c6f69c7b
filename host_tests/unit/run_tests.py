"""Test runner for the MicroPython VMs: `micropython run_tests.py MODULE ...`, or `main([...])`."""

import sys


def main(names):
    """Run all `test_*` functions of these modules; prints failures and a summary line."""
    passed = failed = 0
    for name in names:
        module = __import__(name)
        for key in sorted(dir(module)):
            if not key.startswith("test_"):
                continue
            try:
                getattr(module, key)()
                passed += 1
            except Exception as error:
                failed += 1
                print("FAILED %s.%s" % (name, key))
                sys.print_exception(error)
    print("%d passed, %d failed" % (passed, failed))


if __name__ == "__main__":
    main(sys.argv[1:])
