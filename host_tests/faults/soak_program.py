"""Program for the VM in the soak test: runs `soak_device`, and prints what it has counted.

Its argument is a JSON object with `hosts` (names with port), `dns` (ports of the DNS servers), `unique`,
`seed`, `fault_seconds`, `drain_seconds` and `busy_name` (short name of `Session.is_busy`). For
`fault_seconds` it publishes and makes random calls, then it stops and waits until all messages are
acknowledged. Each line of its output is an event: see `soak_run`.
"""

import gc
import json
import random
import sys

gc.threshold(1024)  # as in boot.py: collect early, so that importing does not fragment the heap

from soak_checks import log  # noqa: E402
from soak_device import Device  # noqa: E402

from umqtt5 import dns  # noqa: E402
from umqtt5.link_statistics import LinkStatistics  # noqa: E402


def load_optional_modules():
    """Import what the library imports on first use, so that the level of the heap is the final one."""
    from umqtt5 import reason_codes  # noqa: F401
    from umqtt5.optional import error_texts, give_up, link_error, property_rules, protocol_error  # noqa: F401


def report(name, value):
    log("report", name, json.dumps(value))


def main(arguments):
    random.seed(arguments["seed"])
    load_optional_modules()
    dns.servers = [("127.0.0.1", port) for port in arguments["dns"]]
    gc.collect()
    gc.threshold(4096)
    device = Device(arguments)
    statistics = LinkStatistics(device.client)
    device.run(arguments["fault_seconds"], arguments["drain_seconds"])
    device.client.disconnect()
    messages = device.messages
    for name, value in (
        ("numbers", list(messages.numbers)),
        ("acknowledged", messages.outcomes[0]),
        ("refused", messages.outcomes[1]),
        ("canceled", messages.outcomes[2]),
        ("acknowledged_before_publish_returned", messages.early),
        ("identifiers_reused_before_on_ack", messages.reused),
        ("received_end", [a.end for a in device.arrivals]),
        ("received", [a.new for a in device.arrivals]),
        ("repeated", [a.repeated for a in device.arrivals]),
        ("handled_by_parts", device.handled),
        ("handler_errors", device.handler_errors),
        ("unhandled", device.unhandled),
        ("lookups", device.lookups),
        ("interrupts", device.interrupts),
        ("interrupts_while_busy", device.interrupts_busy),
        ("scheduled_publishes", device.scheduled_publishes),
        ("scheduled_publishes_refused_busy", device.publishes_refused_busy),
        ("schedule_queue_full", device.queue_full),
        ("calls", device.calls),
        ("polls", device.polls),
        ("polls_above_100_ms", device.slow_polls),
        ("longest_poll_us", device.longest_poll_us),
        ("link", statistics.snapshot()),
    ):
        report(name, value)
    log("end")


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
