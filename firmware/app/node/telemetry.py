"""Telemetry: reads the sensors periodically and publishes their readings, and their errors, over MQTT.

A sensor with one quantity publishes to `<base>/sensor/<name>`. A sensor with several quantities publishes
each to `<base>/sensor/<name>/<key>`, so that every payload is a plain number. If a sensor fails, its error is
published to `<base>/sensor/<name>/error`, retained; when the sensor works again, an empty payload removes the
error.
"""

import gc
from time import ticks_add, ticks_diff, ticks_ms

from micropython import const

from sensors import load_module

from .modules import release_modules
from .publishing import publish
from .timestamps import unix_time

# bytes that must be free before a sensor is created: for later parts, the connection and error messages
_MIN_FREE = const(16384)
_MAX_WAIT = const(1000)  # ms
_MAX_PAUSE = const(300000)  # ms, longest pause after failures, unless the period of the sensor is longer


class Telemetry:
    """All sensors of the device.

    `sensors` is the list of checked config entries, `pins` the board's module. If `timestamps` is True, each
    message has the time of the reading in the user property `time`.
    """

    def __init__(self, client, base, sensors, pins, timestamps=False):
        self.client = client
        self.base = base
        self.pins = pins
        self.timestamps = timestamps
        self.backlog = None
        self.sensors = []
        self.missing = []  # names of the sensors, and of other parts, for which there is not enough memory
        for config in sensors:
            try:
                gc.collect()
                if gc.mem_free() < _MIN_FREE:
                    raise MemoryError
                self.sensors.append(_Sensor(self, config))
            except MemoryError:
                gc.collect()
                self.missing.append(config["name"])
                print("sensor %s: not enough memory: the device runs without it" % config["name"])

    def attach_backlog(self, make, deep):
        """Enable the backlog, which stores readings while the device is offline.

        `make(topics)` creates the backlog; `topics` are the topics of all quantities. `deep` is True if the
        device uses deep sleep: readings are then kept in the client's outbox while the device is awake, and
        `store_unacknowledged` moves them to the backlog before it sleeps.
        """
        topics: list = []
        for sensor in self.sensors:
            sensor.attach_backlog(len(topics), deep)
            topics += sensor.topics
        self.backlog = make(topics)

    def on_ack(self, packet_id):
        """Handle the acknowledgement of a message by the broker."""
        if self.backlog is not None:
            self.backlog.on_ack(packet_id)
            for sensor in self.sensors:
                sensor.on_ack(packet_id)

    def store_unacknowledged(self, now):
        """Move unacknowledged readings to the backlog, because the outbox is lost in deep sleep."""
        for sensor in self.sensors:
            sensor.store_unacknowledged(now)

    def run(self, now):
        """Measure and publish the sensors that are due; returns the time in ms until the next one is due."""
        wait = _MAX_WAIT
        for sensor in self.sensors:
            wait = min(wait, sensor.run(now))
        if self.backlog is not None:
            wait = min(wait, self.backlog.run(now))
        return max(0, wait)

    def measure_now(self, now):
        """Measure all sensors at the next `run`."""
        for sensor in self.sensors:
            sensor.measure_now(now)

    def on_connected(self, now):
        """Measure the sensors whose last readings could not be published, and publish the new readings."""
        for sensor in self.sensors:
            if sensor._has_unpublished:
                sensor.publish_now(now)
            if sensor._error:  # the last connection may have ended before the broker received it
                sensor._error_unpublished = True

    @property
    def is_busy(self):
        """True until each sensor has been read or has failed after `measure_now`."""
        for sensor in self.sensors:
            if not sensor._is_read:
                return True
        return False

    def save(self):
        """Save to flash what a reset would lose: the counts of sensors and the backlog."""
        for sensor in self.sensors:
            sensor.save()
        if self.backlog is not None:
            self.backlog.save()

    def list_quantities(self):
        """Yield a tuple for each quantity, with the data for Home Assistant discovery.

        The tuple is (sensor name, key, topic, unit, device class, state class, decimals, expiry). `expiry` is
        the time in seconds after which a reading is no longer valid, because a newer one should have arrived.
        """
        for sensor in self.sensors:
            for i, (key, unit, device_class, _, state_class) in enumerate(sensor.driver.quantities):
                topic = sensor.topics[i].name.decode()
                about = (key, topic, unit, device_class, state_class, sensor.decimals[i], sensor.expiry)
                yield (sensor.name,) + about


class _Sensor:
    """A sensor: driver, schedule, smoothing, dead band and topics. `config` is its checked config entry.

    If the driver cannot be created, the sensor has a `MissingDriver`, which tries again.
    """

    # defaults are class attributes: instance attributes would enlarge the dict of each instance
    _unacknowledged = None  # packet identifier per quantity, 0 if acknowledged; None without deep sleep
    _smoothing = 0
    _dead_band = None
    _retain = False
    _properties = b""

    def __init__(self, telemetry, config):
        self._telemetry = telemetry
        self.name = config["name"]
        self._first_quantity = 0  # backlog number of this sensor's first quantity
        self._is_read = False
        self._has_unpublished = False  # whether the last reading could not be published
        self._period = int(config["period"] * 1000)
        self._max_silence = int(config["max_silence"] * 1000)
        self._qos = config["qos"]
        if config["smoothing"]:
            self._smoothing = config["smoothing"]
        if config["dead_band"] is not None:
            self._dead_band = config["dead_band"]
        if config["retain"]:
            self._retain = True
        self._set_expiry(config)
        self._precision = config["precision"]
        self._due = ticks_ms()
        self._measuring = False
        self._failures = 0
        self._error = None  # text of the current error
        self._error_unpublished = True  # the broker may still retain an error from before the start
        try:
            driver = load_module(config["kind"]).make(config, telemetry.pins)
        except Exception as error:  # the device runs without this sensor
            from ..missing_driver import MissingDriver

            self.set_driver(MissingDriver(self, config, telemetry))
            self._fail(error, self._due)
        else:
            self.set_driver(driver)

    def _set_expiry(self, config):
        """Set the expiry of a reading, and the longest silence within the dead band."""
        silence = config["period"]
        expiry = config["expiry"]
        if self._dead_band is not None:
            if expiry:  # a reading is published again before it expires
                limit = max(0, int((expiry - 1.5 * silence) * 1000))
                self._max_silence = min(self._max_silence, limit)
            silence += config["max_silence"]
        # one missed reading is normal, for example after a short failure of the sensor
        self.expiry = expiry or int(3 * silence) + 60  # seconds
        if expiry or self._retain:
            self._properties = b"\x02" + self.expiry.to_bytes(4, "big")  # Message Expiry Interval

    def set_driver(self, driver):
        """Use this driver."""
        self.driver = driver
        self._has_poll = hasattr(driver, "poll")
        client = self._telemetry.client
        topic = self._topic_name()
        quantities = driver.quantities
        if len(quantities) == 1:
            self.topics = [client.topic(topic)]
        else:
            self.topics = [client.topic("%s/%s" % (topic, quantity[0])) for quantity in quantities]
        precision = self._precision
        self.decimals = [q[3] if precision is None else precision for q in quantities]
        count = len(quantities)
        self._values: list = [None] * count
        self._smooth: list = [None] * count
        self._sent: list = [None] * count
        self._sent_at = [0] * count

    def _topic_name(self):
        return "%s/sensor/%s" % (self._telemetry.base, self.name)

    def attach_backlog(self, number, deep):
        """Use the backlog; `number` is this sensor's first quantity number in the backlog."""
        self._first_quantity = number
        if deep:
            self._unacknowledged = [0] * len(self.topics)

    def run(self, now):
        """Measure and publish if due; returns the time in ms until the sensor is due again."""
        wait = _MAX_WAIT
        if self._has_poll:
            wait = self._poll_driver(now)
        if ticks_diff(self._due, now) <= 0:
            self._step(now)
        elif self._error_unpublished and self._is_read:  # it could not be published before
            self._error_unpublished = not self._publish_error()
        return min(wait, ticks_diff(self._due, now))

    def measure_now(self, now):
        """Measure at the next `run`."""
        self._is_read = False
        if not self._measuring:
            self._due = now

    def publish_now(self, now):
        """Measure at the next `run`, and publish the reading even if it has not changed."""
        for i in range(len(self._sent)):
            self._sent[i] = None
        self.measure_now(now)

    def on_ack(self, packet_id):
        """Handle the acknowledgement of a message by the broker."""
        if self._unacknowledged:
            for i in range(len(self._unacknowledged)):
                if self._unacknowledged[i] == packet_id:
                    self._unacknowledged[i] = 0

    def store_unacknowledged(self, now):
        """Move unacknowledged readings to the backlog."""
        if self._unacknowledged:
            for i in range(len(self._unacknowledged)):
                if self._unacknowledged[i]:
                    self._unacknowledged[i] = 0
                    text = _format_value(self._sent[i], self.decimals[i])
                    self._telemetry.backlog.add(self._first_quantity + i, text, now)

    def save(self):
        """Make the driver save the data that a reset would lose."""
        if hasattr(self.driver, "save"):
            try:
                self.driver.save()
            except (OSError, MemoryError) as error:
                from ..flash_error import report

                report("sensor " + self.name, error, "cannot save its state")

    def _poll_driver(self, now):
        try:
            wait = self.driver.poll(now)
        except Exception as error:
            self._fail(error, now)
            return _MAX_WAIT
        if self.driver.has_changed:
            self._due = now  # events are published immediately
        return wait

    def _step(self, now):
        try:
            if not self._measuring:
                wait = self.driver.start()
                if wait > 0:
                    self._measuring = True
                    self._due = ticks_add(now, wait)
                    return
            self._measuring = False
            self.driver.read(self._values)
            for i in range(len(self._values)):
                self._smooth_value(i)
            self._publish(now)
            self._clear_failure()
        except Exception as error:
            self._fail(error, now)
            return
        self._due = ticks_add(now, self._period)
        self._is_read = True

    def _smooth_value(self, i):
        """Apply smoothing to the new value of quantity `i`. Raises ValueError for inf and nan."""
        value = self._values[i]
        if value is None or isinstance(value, str):
            self._smooth[i] = value
            return
        if value - value != 0:  # the difference is nan if the value is inf or nan
            raise ValueError("not a number")
        if self._smoothing and self._smooth[i] is not None:
            value += self._smoothing * (self._smooth[i] - value)
        self._smooth[i] = value

    # ---- failures

    def _fail(self, error, now):
        """Report a new error once, and retry after a pause that doubles with each failure."""
        self._measuring = False
        self._is_read = True
        for i in range(len(self._smooth)):
            # smoothing starts again after a failure, and the next reading is published without a change
            self._smooth[i] = self._sent[i] = None
        pause = max(self._period, min(_MAX_PAUSE, self._period << min(self._failures, 12)))
        self._failures += 1
        self._due = ticks_add(now, pause)
        text = "%s: %s" % (type(error).__name__, error)
        is_new = self._error is None or self._error.split("; ")[0] != text.split("; ")[0]
        hint = self._diagnose(error, is_new)
        if is_new:
            self._error = text + hint
            self._error_unpublished = True
            print("sensor %s: %s" % (self.name, self._error))
        if self._error_unpublished:
            self._error_unpublished = not self._publish_error()

    def _diagnose(self, error, is_new):
        """Free a bus that hangs. Returns a hint for the text of a new error: the devices on the bus."""
        if not hasattr(self.driver, "bus") or not isinstance(error, (OSError, ValueError)):
            return ""
        hint = ""
        try:
            from ..bus_diagnosis import diagnose

            hint = diagnose(self.driver, error, is_new, self._telemetry.pins)
        except Exception as another:  # not enough memory
            print("sensor %s: no diagnosis: %s" % (self.name, another))
        release_modules("app.bus_diagnosis")
        return hint

    def _clear_failure(self):
        if self._error:
            print("sensor %s: works again" % self.name)
            self._error_unpublished = True
        self._error = None
        self._failures = 0
        if self._error_unpublished:
            self._error_unpublished = not self._publish_error()

    def _publish_error(self):
        """Publish the current error, or remove an earlier one; returns False if it could not be published."""
        client = self._telemetry.client
        if not client.is_connected:
            return False
        topic = client.topic(self._topic_name() + "/error")
        topic.alias = -1  # errors are too rare to be worth a topic alias
        return publish(client, topic, self._error or "", retain=True)

    # ---- publishing

    def _publish(self, now):
        all_sent = True
        changed = self._has_poll and self.driver.has_changed
        telemetry = self._telemetry
        properties = self._properties
        if telemetry.timestamps:
            properties = _add_time(properties, unix_time())
        for i in range(len(self._smooth)):
            value = self._smooth[i]
            if value is None:
                self._sent[i] = None
                continue
            if not (changed or self._should_publish(i, value, now)):
                continue
            text = _format_value(value, self.decimals[i])
            packet_id = 0
            if telemetry.backlog is None or self._unacknowledged or telemetry.client.is_connected:
                packet_id = publish(
                    telemetry.client,
                    self.topics[i],
                    text,
                    qos=self._qos,
                    retain=self._retain,
                    properties=properties,
                )
                if self._unacknowledged:  # a dropped message (True) is not acknowledged
                    self._unacknowledged[i] = 0 if packet_id is True else packet_id
            all_sent = all_sent and packet_id > 0
            stored = packet_id
            if not stored and telemetry.backlog is not None:
                stored = telemetry.backlog.add(self._first_quantity + i, text, now)
            # `_sent_at` of a reading that was never sent would be wrong when the ticks have wrapped around
            self._sent[i] = value if stored else None
            self._sent_at[i] = now
        self._has_unpublished = not all_sent
        if changed and (all_sent or not self._qos):
            self.driver.has_changed = False

    def _should_publish(self, i, value, now):
        """Return True for a first value, if `dead_band` is None or exceeded, or after `max_silence`."""
        band, sent = self._dead_band, self._sent[i]
        if band is None or sent is None or ticks_diff(now, self._sent_at[i]) >= self._max_silence:
            return True
        if isinstance(value, str) or not band:
            return value != sent
        return abs(value - sent) > band


def _format_value(value, decimals):
    """Return the payload of a value: str unchanged, int without decimals, float with `decimals` decimals."""
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        return str(value)
    return "%.*f" % (decimals, value)


def _add_time(properties, now):
    """Return encoded PUBLISH properties with the user property `time` added, unless `now` is 0.

    `now` is in seconds since 1970.
    """
    return properties + b"\x26\x00\x04time\x00\x0a%010d" % now if now else properties
