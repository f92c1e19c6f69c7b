"""Interlocks at the start: decides which of the actuators that exclude each other may be on."""


def resolve(items):
    """Change the safe states in `items`, so that no two actuators with an interlock start as on.

    `items` are config entries with `name`, `interlock` and `safe`. If ON is the safe state of both actuators,
    the second one gets OFF. HOLD becomes OFF beside ON, because the output may still be on.
    """
    for i, item in enumerate(items):
        for other in items[:i]:
            if other["name"] in item["interlock"] or item["name"] in other["interlock"]:
                if item["safe"] == "ON" and other["safe"] == "HOLD":
                    other["safe"] = "OFF"
                elif item["safe"] != "OFF" and other["safe"] == "ON":
                    item["safe"] = "OFF"
