"""The driver of a sensor that could not be created: the device runs without it, and tries again."""

from sensors import load_module


class MissingDriver:
    """Replaces the driver of `sensor` until `make(config, pins)` of its kind succeeds.

    It has no method `read`.
    """

    def __init__(self, sensor, config, telemetry):
        self._sensor = sensor
        self._config = config
        self._telemetry = telemetry
        self.quantities = _find_quantities(config)

    def start(self):
        """Create the driver, and start its first measurement. Raises the exception of the driver."""
        sensor = self._sensor
        driver = load_module(self._config["kind"]).make(self._config, self._telemetry.pins)
        if len(driver.quantities) == len(self.quantities):
            sensor.driver = driver
            sensor._has_poll = hasattr(driver, "poll")
        else:
            sensor.set_driver(driver)
            backlog = self._telemetry.backlog
            if backlog is not None:
                sensor.attach_backlog(len(backlog.topics), sensor._unacknowledged is not None)
                backlog.topics += sensor.topics
        return driver.start()


def _find_quantities(config):
    """Return what the sensor measures, without its hardware; () if this is not known."""
    try:
        module = load_module(config["kind"])
        for name in dir(module):
            quantities = getattr(getattr(module, name), "quantities", None)
            if isinstance(quantities, tuple):
                return quantities
        return module.make(config, _NoHardware()).quantities
    except Exception:
        return ()


class _NoHardware:
    """Replaces the board, its buses and its pins: each attribute is a function that returns this object."""

    def __getattr__(self, name):
        return self

    def __call__(self, *args, **options):
        return self

    def value(self):
        """Return the level of a pin."""
        return 0
