"""Names that MiniMQTT's annotations import; MicroPython does not look at annotations."""

List = Optional = Tuple = Type = Union = None
