"""DHT11 and DHT22 (AM2302) temperature and humidity sensors, with MicroPython's `dht` driver."""

from . import MEASUREMENT
from .schema import REQUIRED, merge_fields

FIELDS = merge_fields(
    pin=(object, REQUIRED, 0, 0, "a pin"),
    # the DHT22 measures at most once every two seconds
    period=(float, 10, 2, 86400, "seconds, 2 to 86400"),
)
PIN_USES = {"pin": "OUTPUT_PINS"}  # the driver also uses the pin as an output


def make(config, pins):
    import dht

    driver = dht.DHT11 if config["kind"] == "dht11" else dht.DHT22
    return Dht(driver(pins.open_drain(config["pin"])))


class Dht:
    """The driver for a `dht.DHT11` or `dht.DHT22`."""

    quantities = (
        ("temperature", "°C", "temperature", 1, MEASUREMENT),
        ("humidity", "%", "humidity", 1, MEASUREMENT),
    )

    def __init__(self, driver):
        self._driver = driver

    def start(self):
        return 0

    def read(self, values):
        try:
            self._driver.measure()
        except OSError:
            raise
        except Exception as error:  # the driver raises Exception for a wrong checksum
            raise ValueError(str(error))
        humidity = self._driver.humidity()
        if not 0 <= humidity <= 100:
            raise ValueError("humidity %s is out of range" % humidity)
        values[0] = self._driver.temperature()
        values[1] = humidity
