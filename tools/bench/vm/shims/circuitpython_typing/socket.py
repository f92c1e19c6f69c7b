"""Replacement for `circuitpython_typing.socket`: names that the annotations of MiniMQTT import."""

CircuitPythonSocketType = InterfaceType = SocketpoolModuleType = SocketType = SSLContextType = None
