"""Subscribe options (3.8, 3.10): several filters, user properties, a chosen Subscription Identifier.

    client.subscribe(["lamp/set", "relay/+"], handle, qos=1)
    client.subscribe("log/#", handle, identifier=0, properties=pack(user_properties=[("app", "logger")]))

The filters of a list are one subscription: they have one handler, the same options, and one packet. `reason`
is the highest of the broker's reason codes, so 0x80 or more if it refuses one of the filters. In
`on_subscribed`, `answer.payload` has the reason code of each filter. `unsubscribe` takes the same list.

With `identifier=0` the broker sends no identifier with the messages of this subscription, and they are
matched by topic. If they match another subscription that has an identifier, a broker that sends one copy of
the message names only the other one. So choose 0 for all subscriptions or for none.
"""

from ..core.subscriptions import Subscription
from ..core.topics import encode_filter
from ..core.wire import check_int
from .property_rules import USER, check_properties

_MAX_IDENTIFIER = 268435455


class SubscriptionGroup(Subscription):
    """A subscription with several filters."""

    def __init__(self, filters):
        super().__init__(b"\0".join(filters))  # a filter never contains U+0000
        self.filters = filters
        self.filter_count = len(filters)
        self._members = [Subscription(f) for f in filters]

    def matches(self, packet):
        """Return True if the topic of a message matches one of the filters; allocates nothing."""
        for member in self._members:
            if member.matches(packet):
                return True
        return False


def make_subscription(subscriptions, filters, identifier, properties):
    """Return the Subscription for `subscribe` and `unsubscribe`. Raises ValueError, TypeError."""
    if identifier is not None:
        check_int("identifier", identifier, _MAX_IDENTIFIER)
    check_properties(properties, USER)
    filters = [encode_filter(f) for f in ([filters] if not isinstance(filters, (list, tuple)) else filters)]
    if not filters:
        raise ValueError("topic_filter must not be an empty list")  # [MQTT-3.8.3-2]
    s = subscriptions.find(b"\0".join(filters))
    if not s:
        s = Subscription(filters[0]) if len(filters) == 1 else SubscriptionGroup(filters)
    if identifier is not None:
        s.identifier = identifier
    s.properties = bytes(properties)
    return s
