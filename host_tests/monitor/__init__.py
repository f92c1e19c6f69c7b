from pathlib import Path

AXE = Path(__file__).parent / "axe"  # the npm package axe-core
