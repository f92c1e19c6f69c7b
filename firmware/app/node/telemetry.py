"""Sensors are measured at their periods, and what is worth it is published.

`<base>/sensor/<name>` has the value of a sensor with one quantity; one with several has
`<base>/sensor/<name>/<key>` for each, so that a value is a plain number there too.
`<base>/sensor/<name>/error` says why a sensor fails, retained, and is withdrawn when it works again.
"""

from time import ticks_add, ticks_diff, ticks_ms

from micropython import const

from sensors import module
from umqtt5 import MQTTError

from .timestamps import seconds, stamped

_LONGEST = const(1000)  # ms
_PATIENCE = const(300000)  # ms, the longest pause after a failure, where the period is not longer


def text(value, decimals):
    """A value as people write it: words as they are, a whole number without decimals."""
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        return str(value)
    return "%.*f" % (decimals, value)


class Telemetry:
    """`configs` are the checked entries of the config, `pins` the board's module."""

    def __init__(self, client, base, configs, pins, stamp=False):
        self.client = client
        self.stamp = stamp
        self.backlog = None
        self.sensors = [Sensor(self, base, config, pins) for config in configs]

    def keep(self, backlog, sleeps):
        """From now on what can't be told goes to `backlog(topics)`, with the topics of all quantities.

        Where the device `sleeps`, a reading waits in the outbox until it is time to sleep: see `unsent`.
        """
        topics: list = []
        for sensor in self.sensors:
            sensor.number = len(topics)
            topics += sensor.topics
        self.backlog = backlog(topics)
        for sensor in self.sensors:
            if sleeps:
                sensor.pending = [0] * len(sensor.topics)

    def acknowledged(self, packet_id):
        """The broker has this message."""
        if self.backlog is not None:
            self.backlog.acknowledged(packet_id)
            for sensor in self.sensors:
                sensor.acknowledged(packet_id)

    def unsent(self, now):
        """What the broker has not acknowledged goes to the backlog: the outbox does not outlive the sleep."""
        for sensor in self.sensors:
            sensor.unsent(now)

    def run(self, now):
        """Measure and publish what is due; returns the ms until something is."""
        wait = _LONGEST
        for sensor in self.sensors:
            wait = min(wait, sensor.run(now))
        if self.backlog is not None:
            wait = min(wait, self.backlog.run(now))
        return max(0, wait)

    def again(self, now):
        """All that is measured is due now."""
        for sensor in self.sensors:
            sensor.again(now)

    def linked(self, now):
        """The link is there: what could not be told is due now."""
        for sensor in self.sensors:
            if sensor.missed:
                sensor.anew(now)

    def read(self):
        """True where each sensor has been read since `again`, or has failed."""
        for sensor in self.sensors:
            if not sensor.done:
                return False
        return True

    def save(self):
        """What sensors would lose by a reset is written down."""
        for sensor in self.sensors:
            sensor.save()
        if self.backlog is not None:
            self.backlog.save()

    def table(self):
        """For each quantity, where its sensor is there:
        (name, key, topic, unit, device class, state class, decimals, expiry in s or None)."""
        for sensor in self.sensors:
            for i, (key, unit, device_class, _, state_class) in enumerate(sensor.driver.quantities):
                topic = sensor.topics[i].name.decode()
                about = (key, topic, unit, device_class, state_class, sensor.decimals[i], sensor.expiry)
                yield (sensor.name,) + about


class Sensor:
    """One sensor with what the config asks of it; `owner` is the Telemetry."""

    # what few change is the class's until then: it takes no room in the dict of an instance
    expiry = None
    pending = None  # packet identifiers by quantity, where what is not acknowledged is kept
    _smoothing = 0
    _dead_band = None
    _retain = False
    _properties = b""

    def __init__(self, owner, base, config, pins):
        self._owner = owner
        self.name = config["name"]
        self.number = 0  # of its first quantity
        self.done = False
        self.missed = False  # something was worth telling, and could not be told
        self._period = int(config["period"] * 1000)
        self._max_silence = int(config["max_silence"] * 1000)
        self._qos = config["qos"]
        if config["smoothing"]:
            self._smoothing = config["smoothing"]
        if config["dead_band"] is not None:
            self._dead_band = config["dead_band"]
        if config["retain"]:
            self._retain = True
        if config["expiry"] is not None:
            self.expiry = config["expiry"]
            self._properties = b"\x02" + self.expiry.to_bytes(4, "big")
        self.driver = driver = module(config["kind"]).make(config, pins)
        self._events = hasattr(driver, "changed")
        quantities = driver.quantities
        client = owner.client
        topic = "%s/sensor/%s" % (base, self.name)
        if len(quantities) == 1:
            self.topics = [client.topic(topic)]
        else:
            self.topics = [client.topic("%s/%s" % (topic, quantity[0])) for quantity in quantities]
        wished = config["precision"]
        self.decimals = [q[3] if wished is None else wished for q in quantities]
        self._values: list = [None] * len(quantities)
        self._smooth: list = [None] * len(quantities)
        self._sent: list = [None] * len(quantities)
        self._sent_at = [0] * len(quantities)
        self._due = ticks_ms()
        self._measuring = False
        self._failures = 0
        self._failed = None  # what it said
        self._unsaid = True  # the broker may still have an error, of before the start

    def run(self, now):
        """Returns the ms until it wants to run again."""
        wait = _LONGEST
        if self._events:
            wait = self._look(now)
        if ticks_diff(self._due, now) <= 0:
            self._step(now)
        return min(wait, ticks_diff(self._due, now))

    def again(self, now):
        self.done = False
        if not self._measuring:
            self._due = now

    def anew(self, now):
        """It is due now, and told whether it has changed or not."""
        for i in range(len(self._sent)):
            self._sent[i] = None
        self.again(now)

    def acknowledged(self, packet_id):
        if self.pending:
            for i in range(len(self.pending)):
                if self.pending[i] == packet_id:
                    self.pending[i] = 0

    def unsent(self, now):
        if self.pending:
            for i in range(len(self.pending)):
                if self.pending[i]:
                    self.pending[i] = 0
                    self._owner.backlog.keep(self.number + i, text(self._sent[i], self.decimals[i]), now)

    def save(self):
        if hasattr(self.driver, "save"):
            try:
                self.driver.save()
            except OSError as error:
                print("sensor %s: not saved: %s" % (self.name, error))

    def _look(self, now):
        try:
            wait = self.driver.look(now)
        except Exception as error:
            self._fail(error, now)
            return _LONGEST
        if self.driver.changed:
            self._due = now  # told at once
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
                self._take(i)
            self._publish(now)  # which the broker's limits may forbid
            self._works()
        except Exception as error:
            self._fail(error, now)
            return
        self._due = ticks_add(now, self._period)
        self.done = True

    def _take(self, i):
        """A new value into the smoothed one."""
        value = self._values[i]
        if value is None or isinstance(value, str):
            self._smooth[i] = value
            return
        if value - value != 0:  # of inf and nan it is nan
            raise ValueError("not a number")
        if self._smoothing and self._smooth[i] is not None:
            value += self._smoothing * (self._smooth[i] - value)
        self._smooth[i] = value

    # ---- failures

    def _fail(self, error, now):
        """Say it once, and try again later and later."""
        self._measuring = False
        self.done = True
        for i in range(len(self._smooth)):
            self._smooth[i] = None  # what comes after has nothing to do with what was before
        pause = max(self._period, min(_PATIENCE, self._period << min(self._failures, 12)))
        self._failures += 1
        self._due = ticks_add(now, pause)
        said = "%s: %s" % (type(error).__name__, error)
        if said != self._failed:
            self._failed = said
            self._unsaid = True
            print("sensor %s: %s" % (self.name, said))
        if self._unsaid:
            self._unsaid = not self._say(said)

    def _works(self):
        if self._failed:
            print("sensor %s: works again" % self.name)
            self._unsaid = True
        self._failed = None
        self._failures = 0
        if self._unsaid:
            self._unsaid = not self._say("")

    def _say(self, error):
        name = self.topics[0].name.decode()
        if len(self.topics) > 1:
            name = name[: name.rfind("/")]
        topic = self._owner.client.topic(name + "/error")
        topic.alias = -1  # so seldom that an alias would be wasted
        try:
            return self._owner.client.publish(topic, error, retain=True)
        except (MQTTError, ValueError):  # a broker that retains nothing
            return True

    # ---- what is worth it

    def _publish(self, now):
        told = True
        changed = self._events and self.driver.changed
        owner = self._owner
        properties = stamped(self._properties, seconds()) if owner.stamp else self._properties
        for i in range(len(self._smooth)):
            value = self._smooth[i]
            if value is None or not (changed or self._worth(i, value, now)):
                continue
            payload = text(value, self.decimals[i])
            packet_id = 0
            if owner.backlog is None or self.pending or owner.client.connected:
                packet_id = owner.client.publish(
                    self.topics[i], payload, qos=self._qos, retain=self._retain, properties=properties
                )
                if self.pending:
                    self.pending[i] = packet_id
            told = told and packet_id > 0
            if packet_id or owner.backlog is not None and owner.backlog.keep(self.number + i, payload, now):
                self._sent[i], self._sent_at[i] = value, now
        self.missed = not told
        if changed and (told or not self._qos):
            self.driver.changed = False

    def _worth(self, i, value, now):
        band, sent = self._dead_band, self._sent[i]
        if band is None or sent is None or ticks_diff(now, self._sent_at[i]) >= self._max_silence:
            return True
        if isinstance(value, str) or not band:
            return value != sent
        return abs(value - sent) > band
