"""As `typing`."""

CircuitPythonSocketType = InterfaceType = SocketpoolModuleType = SocketType = SSLContextType = None
