"""Debounced inputs: each level that lasts is reported at any phase of the loop; pulses are counted."""

from sensors import digital, edges, load_module, pulse


class Clock:
    now = 1000


def on_wrapping_clock(test):
    """Decorate a test that runs with `Clock`, on ticks that wrap around at 2**30 ms."""

    def run():
        saved = [(module, module.ticks_ms, module.ticks_diff) for module in (edges, pulse)]
        for module in (edges, pulse):
            module.ticks_ms = lambda: Clock.now & 0x3FFFFFFF
            module.ticks_diff = lambda a, b: ((a - b + 0x20000000) & 0x3FFFFFFF) - 0x20000000
        try:
            test()
        finally:
            for module, ticks_ms, ticks_diff in saved:
                module.ticks_ms, module.ticks_diff = ticks_ms, ticks_diff

    return run


class Random:
    """Linear congruential generator: the same numbers on each interpreter."""

    def __init__(self, seed):
        self._state = seed

    def below(self, n):
        self._state = (self._state * 1103515245 + 12345) & 0x7FFFFFFF
        return (self._state >> 8) % n


class Pin:
    """A `machine.Pin` with a hard interrupt. It records its edges.

    `edges_before` and `edges_after` are the numbers of edges that happen just before, or just after, the
    program has read the level.
    """

    is_hard = True

    def __init__(self, level=0):
        self.level = level
        self.edges = []  # (time, new level)
        self.handler = None
        self.edges_before = self.edges_after = 0

    def value(self):
        while self.edges_before:
            self.edges_before -= 1
            self.toggle()
        level = self.level
        while self.edges_after:
            self.edges_after -= 1
            self.toggle()
        return level

    def toggle(self):
        self.level ^= 1
        self.edges.append((Clock.now, self.level))
        before, after = self.edges_before, self.edges_after
        self.edges_before = self.edges_after = 0  # the handler is not interrupted by the same pin
        self.handler(self)
        self.edges_before, self.edges_after = before, after

    def on_edge(self, pin, handler, edge):
        assert edge == "both"
        self.handler = handler
        return self.is_hard


def debounced(level, pin, debounce):
    """Return the levels that the edges of a pin have after debouncing, until now: the reference."""
    found = []
    last, since = level, None
    for when, new in pin.edges + [(Clock.now, None)]:
        if last != level and when - since >= debounce:
            level = last
            found.append(level)
        last, since = new, when
    return found


def settings(kind, debounce):
    made = {name: field[1] for name, field in load_module(kind).FIELDS.items()}
    made.update(kind=kind, name="edges", debounce=debounce / 1000)
    return made


def take(driver, found):
    driver.poll(Clock.now)
    if driver.has_changed:
        values = [None]
        driver.read(values)
        found.append(1 if values[0] == "ON" else 0)
        driver.has_changed = False


def random_times(random, debounce):
    """Let time pass until the next event: bounces, presses, and levels near the debounce time."""
    choice = random.below(4)
    if choice == 0:
        Clock.now += random.below(4)
    elif choice == 1:
        Clock.now += max(0, debounce - 1 + random.below(3))
    else:
        Clock.now += random.below(2 * debounce + 2)


@on_wrapping_clock
def test_every_level_that_lasts_is_reported_in_order_at_any_phase_of_the_loop():
    reported = 0
    for seed in range(150):
        random = Random(seed)
        debounce = (0, 1, 5, 50, 200)[seed % 5]
        Clock.now = (1 << 30) - 2000 - seed  # the ticks wrap around soon
        pin = Pin(seed & 1)
        driver = digital.Digital(settings("digital", debounce), pin, pin.on_edge)
        first = pin.level
        found = []
        take(driver, found)
        for _ in range(60):
            random_times(random, debounce)
            for _ in range(random.below(9) + 1):  # the program is blocked while these edges happen
                pin.toggle()
                random_times(random, debounce)
            if debounce and random.below(3) == 0:  # within a read, levels that last 0 ms are not seen
                pin.edges_before, pin.edges_after = random.below(3), random.below(3)
            for _ in range(10):
                take(driver, found)
                pin.edges_before = pin.edges_after = 0
        Clock.now += debounce
        for _ in range(20):
            take(driver, found)
        expected = [first] + debounced(first, pin, debounce)
        assert found == expected, (seed, found, expected)
        reported += len(found)
    assert reported > 2000


@on_wrapping_clock
def test_every_pulse_that_lasts_is_counted_once_at_any_phase_of_the_loop():
    for seed in range(60):
        random = Random(seed)
        debounce = (1, 5, 50)[seed % 3]
        pin = Pin(1)
        driver = pulse.Pulse(settings("pulse", debounce), pin, pin.on_edge)
        for _ in range(60):
            for _ in range(random.below(40)):
                pin.toggle()
                random_times(random, debounce)
            pin.edges_before, pin.edges_after = random.below(3), random.below(3)
            driver.poll(Clock.now)
        Clock.now += debounce
        values = [None, None]
        driver.read(values)
        expected = debounced(1, pin, debounce).count(0)
        assert values[0] == expected > 0, (seed, values, expected)


@on_wrapping_clock
def test_more_changes_than_can_wait_keep_the_last_level():
    for changes in range(1, 100):
        pin = Pin(0)
        driver = digital.Digital(settings("digital", 5), pin, pin.on_edge)
        found = []
        take(driver, found)
        for _ in range(changes):
            pin.toggle()
            Clock.now += 5
        for _ in range(100):
            take(driver, found)
        assert len(found) == 1 + min(changes, 16 - changes % 2), changes
        for i in range(len(found)):
            assert found[i] == i & 1, changes
        assert found[-1] == pin.level, changes


@on_wrapping_clock
def test_a_pin_without_end_of_edges_does_not_block_the_program():
    pin = Pin(0)
    driver = digital.Digital(settings("digital", 5), pin, pin.on_edge)
    value = pin.value

    def value_with_edge():
        pin.toggle()
        return value()

    pin.value = value_with_edge
    driver.poll(Clock.now)
    pin.value = value
    found = []
    Clock.now += 5
    take(driver, found)
    assert driver._filter.is_settled


@on_wrapping_clock
def test_a_board_without_interrupts_is_polled():
    pin = Pin(0)
    driver = digital.Digital(settings("digital", 20), pin, lambda pin, handler, edge: None)
    found = []
    for level, ms in ((0, 50), (1, 50), (0, 10), (1, 50), (0, 20)):
        pin.level = level
        take(driver, found)
        Clock.now += ms
    take(driver, found)
    assert found == [0, 1, 0]


# ---- a board with soft interrupts, such as an ESP32: they run after the program was blocked


class SoftPin(Pin):
    """A pin whose interrupt handler is called later, at most `depth` times, when the program runs again."""

    is_hard = False
    depth = 4

    def __init__(self, level=0):
        Pin.__init__(self, level)
        self.waiting = 0

    def toggle(self):
        self.level ^= 1
        self.waiting = min(self.depth, self.waiting + 1)

    def run_handlers(self):
        while self.waiting:
            self.waiting -= 1
            self.handler(self)


def soft_digital(debounce, level=0):
    pin = SoftPin(level)
    driver = digital.Digital(settings("digital", debounce), pin, pin.on_edge)
    found = []
    take(driver, found)
    return pin, driver, found


@on_wrapping_clock
def test_a_press_while_a_board_with_soft_interrupts_is_blocked_is_reported_once():
    for edges_in_press in (1, 3, 5):
        pin, driver, found = soft_digital(50)
        Clock.now += 700
        for _ in range(2 * edges_in_press):
            pin.toggle()
            Clock.now += 100 // edges_in_press
        Clock.now += 700
        pin.run_handlers()
        for _ in range(10):
            take(driver, found)
            Clock.now += 50
        assert found == [0, 1, 0], edges_in_press


@on_wrapping_clock
def test_a_press_that_lasts_longer_than_the_block_is_reported():
    pin, driver, found = soft_digital(50)
    Clock.now += 700
    pin.toggle()
    Clock.now += 700
    pin.run_handlers()
    Clock.now += 10
    pin.toggle()
    pin.run_handlers()
    for _ in range(10):
        take(driver, found)
        Clock.now += 50
    assert found == [0, 1, 0]


@on_wrapping_clock
def test_a_bounce_while_a_board_with_soft_interrupts_is_not_blocked_is_ignored():
    pin, driver, found = soft_digital(50)
    for _ in range(20):
        Clock.now += 50
        for _ in range(4):
            pin.toggle()
            Clock.now += 2
            pin.run_handlers()
        take(driver, found)
    assert found == [0]


@on_wrapping_clock
def test_at_least_one_pulse_is_counted_while_a_board_with_soft_interrupts_is_blocked():
    pin = SoftPin(1)
    driver = pulse.Pulse(settings("pulse", 20), pin, pin.on_edge)
    for i in range(1, 4):
        for _ in range(20):
            Clock.now += 50
            driver.poll(Clock.now)
        Clock.now += 500
        pin.toggle()
        Clock.now += 40
        pin.toggle()
        Clock.now += 500
        pin.run_handlers()
        driver.poll(Clock.now)
        assert driver._count == i


@on_wrapping_clock
def test_a_bounce_at_the_end_of_an_update_restarts_the_debounce_time():
    """The interrupt comes when the update has looked for missed edges already: the next round records it."""
    pin = Pin()
    Clock.now = 1000
    edge_filter = edges.EdgeFilter(pin, pin.on_edge, 0, 100)
    pin.toggle()  # the level is 1 from now on
    Clock.now = 1060
    bounces = [2]
    ticks_diff = edges.ticks_diff

    def interrupted(a, b):
        while bounces[0]:
            bounces[0] -= 1
            pin.toggle()
        return ticks_diff(a, b)

    edges.ticks_diff = interrupted
    try:
        edge_filter.update()
    finally:
        edges.ticks_diff = ticks_diff
    assert bounces == [0] and pin.level == 1
    Clock.now = 1159  # 159 ms after the first edge, 99 ms after the bounce
    edge_filter.update()
    assert edge_filter.level == 0 and not edge_filter.is_settled
    Clock.now = 1160
    edge_filter.update()
    assert edge_filter.level == 1 and edge_filter.changes == 1


@on_wrapping_clock
def test_edges_in_each_round_of_an_update_are_recorded_at_the_next_one():
    """After the last round a missed edge is kept for the next call, which comes after 1 ms."""
    pin = Pin()
    Clock.now = 1000
    edge_filter = edges.EdgeFilter(pin, pin.on_edge, 0, 100)
    pin.toggle()
    Clock.now = 1060
    ticks_diff = edges.ticks_diff

    def interrupted(a, b):
        if edge_filter._is_updating:
            pin.toggle()
            pin.toggle()
        return ticks_diff(a, b)

    edges.ticks_diff = interrupted
    try:
        assert edge_filter.update() == 1
    finally:
        edges.ticks_diff = ticks_diff
    Clock.now = 1061
    edge_filter.update()  # records the edges that the call before has missed
    Clock.now = 1160
    edge_filter.update()
    assert edge_filter.level == 0
    Clock.now = 1161
    edge_filter.update()
    assert edge_filter.level == 1
