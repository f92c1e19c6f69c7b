"""MQTT packet codecs of other libraries: ohmqtt and mqtt5 (PyPI), mqtt-packet (npm).

Each codec decodes bytes to a `Packet` and encodes a `Packet`. `decodable` returns the part of a packet that
a codec can represent, `encodable` the part that its encoder writes. Some codecs drop default values or
the order of user properties.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from ohmqtt import packet as ohm
from ohmqtt import property as ohm_property
from ohmqtt.error import MQTTError
from ohmqtt.mqtt_spec import MQTTPropertyId, MQTTQoS, MQTTReasonCode

from host_tests.interop.reference_packets import (
    ACKS,
    PROPERTY_TYPES,
    SUBSCRIPTION_IDENTIFIER,
    USER,
    Packet,
    RejectedError,
)
from tools import npm

FOLDER = Path(__file__).parent


def _filters(filters: list[tuple[str, int]]) -> list[tuple[str, int, bool, bool, int]]:
    """Return (topic filter, QoS, No Local, Retain As Published, Retain Handling) for each filter."""
    return [(name, o & 3, o >> 2 & 1 == 1, o >> 3 & 1 == 1, o >> 4 & 3) for name, o in filters]


class Ohmqtt:
    """The codec of PyPI ohmqtt."""

    name = "ohmqtt"

    def decodable(self, packet: Packet) -> Packet:
        """Sort the Subscription Identifiers and remove duplicates, because ohmqtt has them in a set."""
        packet = packet.copy()
        if SUBSCRIPTION_IDENTIFIER in packet.properties:
            packet.properties[SUBSCRIPTION_IDENTIFIER] = sorted(
                set(packet.properties[SUBSCRIPTION_IDENTIFIER])
            )
        return packet

    encodable = decodable

    @staticmethod
    def _properties(found: Any) -> dict[int, Any]:
        out: dict[int, Any] = {}
        for name, value in found.__dict__.items():
            identifier = int(getattr(MQTTPropertyId, name))
            if identifier == SUBSCRIPTION_IDENTIFIER:
                value = sorted(value)
            elif PROPERTY_TYPES[identifier] == "byte":
                value = int(value)
            out[identifier] = value
        return out

    def decode(self, data: bytes) -> Packet:
        try:
            found: Any = ohm.decode_packet(data)
        except (MQTTError, IndexError) as error:
            raise RejectedError(str(error)) from error
        kind = found.packet_type.name
        packet = Packet(kind, self._fields(kind, found))
        if kind not in ("PINGREQ", "PINGRESP"):
            packet.properties = self._properties(found.properties)
        return packet

    def _fields(self, kind: str, p: Any) -> dict[str, Any]:
        if kind == "CONNECT":
            will = None
            if p.will_topic:
                will = {
                    "qos": p.will_qos,
                    "retain": p.will_retain,
                    "topic": p.will_topic,
                    "payload": p.will_payload,
                    "properties": self._properties(p.will_props),
                }
            return {
                "client_id": p.client_id,
                "clean_start": p.clean_start,
                "keep_alive": p.keep_alive,
                "user": p.username,
                "password": p.password,
                "will": will,
            }
        if kind == "CONNACK":
            return {"session_present": p.session_present, "reason": int(p.reason_code)}
        if kind == "PUBLISH":
            names = ("topic", "payload", "qos", "retain", "dup", "packet_id")
            return {name: getattr(p, name) for name in names}
        if kind in ACKS:
            return {"packet_id": p.packet_id, "reason": int(p.reason_code)}
        if kind == "SUBSCRIBE":
            return {"packet_id": p.packet_id, "filters": _filters(p.topics)}
        if kind == "UNSUBSCRIBE":
            return {"packet_id": p.packet_id, "filters": list(p.topics)}
        if kind in ("SUBACK", "UNSUBACK"):
            return {"packet_id": p.packet_id, "reasons": [int(code) for code in p.reason_codes]}
        return {"reason": int(p.reason_code)} if kind in ("DISCONNECT", "AUTH") else {}

    def encode(self, packet: Packet) -> bytes | None:
        kind = packet.kind
        if kind in ACKS and packet.properties and not packet["reason"]:
            return None  # ohmqtt leaves out the reason code but writes the properties after it (3.4.2.1)
        names = {i: MQTTPropertyId(i).name for i in packet.properties}
        values = {
            names[i]: bool(value)
            if PROPERTY_TYPES[i] == "byte" and names[i] not in ("PayloadFormatIndicator", "MaximumQoS")
            else value
            for i, value in packet.properties.items()
        }
        if kind == "PINGRESP":
            return ohm.PONG
        stem = kind.capitalize()
        if kind in ACKS:
            stem = "Pub" + kind[3:].capitalize()
        elif kind.endswith("ACK"):
            stem = kind[:-3].capitalize() + "Ack"
        properties = getattr(ohm_property, f"MQTT{stem}Props")(**values)
        make: Any = getattr(ohm, f"MQTT{stem}Packet")
        fields = dict(packet.fields)
        if "reason" in fields:
            fields["reason_code"] = MQTTReasonCode(fields.pop("reason"))
        if "reasons" in fields:
            fields["reason_codes"] = [MQTTReasonCode(code) for code in fields.pop("reasons")]
        if "qos" in fields:
            fields["qos"] = MQTTQoS(fields["qos"])
        return bytes(make(**fields, properties=properties).encode())


# names that mqtt5 uses for the properties
_MQTT5 = {
    0x01: "payload_format_indicator",
    0x02: "message_expiry_interval",
    0x03: "content_type",
    0x08: "response_topic",
    0x09: "correlation_data",
    0x0B: "subscription_ids",
    0x11: "session_expiry_interval",
    0x12: "assigned_client_id",
    0x13: "server_keep_alive",
    0x15: "authentication_method",
    0x16: "authentication_data",
    0x17: "request_problem_info",
    0x18: "will_delay_interval",
    0x19: "request_response_info",
    0x1A: "response_info",
    0x1C: "server_reference",
    0x1F: "reason_str",
    0x21: "receive_max",
    0x22: "topic_alias_max",
    0x23: "topic_alias",
    0x24: "max_qos",
    0x25: "retain_available",
    0x26: "user_properties",
    0x27: "max_packet_size",
    0x28: "wildcard_subscription_available",
    0x29: "subscription_id_available",
    0x2A: "shared_subscription_available",
}
# property values that mqtt5 cannot distinguish from an absent property
_DEFAULTS = {0x01: 0, 0x18: 0, 0x21: 65535, 0x22: 0, 0x24: 2, 0x25: 1, 0x28: 1, 0x29: 1, 0x2A: 1}


class Mqtt5:
    """The codec of PyPI mqtt5."""

    name = "mqtt5"

    def __init__(self) -> None:
        import mqtt5

        self.module: Any = mqtt5

    def _defaults(self, kind: str) -> dict[int, Any]:
        return {**_DEFAULTS, 0x11: 0, 0x17: 1, 0x19: 0} if kind == "CONNECT" else _DEFAULTS

    def decodable(self, packet: Packet) -> Packet:
        """Remove the properties that have their default values."""
        packet = packet.copy()
        defaults = self._defaults(packet.kind)
        for properties in (packet.properties, (packet.fields.get("will") or {}).get("properties", {})):
            for identifier in list(properties):
                if properties[identifier] == defaults.get(identifier, ()):
                    del properties[identifier]
        return packet

    encodable = decodable

    def _properties(self, kind: str, found: Any) -> dict[int, Any]:
        out: dict[int, Any] = {}
        defaults = self._defaults(kind)
        for identifier, name in _MQTT5.items():
            value = getattr(found, name, None)
            if PROPERTY_TYPES[identifier] == "byte" and value is not None:
                value = int(value)
            if value is None or value == [] or value == defaults.get(identifier, ()):
                continue
            if identifier == SUBSCRIPTION_IDENTIFIER:
                value = list(value)
            out[identifier] = value
        return out

    def decode(self, data: bytes) -> Packet:
        hook, sys.unraisablehook = sys.unraisablehook, lambda unraisable: None
        try:
            found, size = self.module.read(memoryview(data))
        except Exception as error:
            raise RejectedError(str(error)) from error
        except BaseException as error:
            # mqtt5 panics if a string is ill-formed UTF-8
            if type(error).__name__ != "PanicException":
                raise
            raise RejectedError("panic") from error
        finally:
            sys.unraisablehook = hook
        if size != len(data):
            raise RejectedError(f"{size} of {len(data)} bytes")
        kind = type(found).__name__.removesuffix("Packet").upper()
        packet = Packet(kind, self._fields(kind, found), self._properties(kind, found))
        if kind == "SUBSCRIBE" and found.subscription_id is not None:
            packet.properties[SUBSCRIPTION_IDENTIFIER] = [found.subscription_id]
        return packet

    def _fields(self, kind: str, p: Any) -> dict[str, Any]:
        if kind == "CONNECT":
            will = None
            if p.will is not None:
                will = {
                    "qos": int(p.will.qos),
                    "retain": p.will.retain,
                    "topic": p.will.topic,
                    "payload": p.will.payload or b"",
                    "properties": self._properties("WILL", p.will),
                }
            return {
                "client_id": p.client_id,
                "clean_start": p.clean_start,
                "keep_alive": p.keep_alive,
                "user": p.username,
                "password": p.password,
                "will": will,
            }
        if kind == "CONNACK":
            return {"session_present": p.session_present, "reason": int(p.reason_code)}
        if kind == "PUBLISH":
            return {
                "topic": p.topic,
                "payload": p.payload,
                "qos": int(p.qos),
                "retain": p.retain,
                "dup": p.duplicate,
                "packet_id": p.packet_id or 0,
            }
        if kind in ACKS:
            return {"packet_id": p.packet_id, "reason": int(p.reason_code)}
        if kind == "SUBSCRIBE":
            filters = [
                (f.pattern, int(f.max_qos), f.no_local, f.retain_as_published, int(f.retain_handling))
                for f in p.topic_filters
            ]
            return {"packet_id": p.packet_id, "filters": filters}
        if kind == "UNSUBSCRIBE":
            return {"packet_id": p.packet_id, "filters": list(p.patterns)}
        if kind in ("SUBACK", "UNSUBACK"):
            return {"packet_id": p.packet_id, "reasons": [int(code) for code in p.reason_codes]}
        return {"reason": int(p.reason_code)} if kind in ("DISCONNECT", "AUTH") else {}

    def encode(self, packet: Packet) -> bytes | None:
        m, kind = self.module, packet.kind
        stem = {
            "CONNACK": "ConnAck",
            "SUBACK": "SubAck",
            "UNSUBACK": "UnsubAck",
            "PINGRESP": "PingResp",
            **{ack: ack[:3].capitalize() + ack[3:].capitalize() for ack in ACKS},
        }.get(kind, kind.capitalize())
        fields = dict(packet.fields)
        for identifier, value in packet.properties.items():
            if identifier in (0x25, 0x28, 0x29, 0x2A):
                value = bool(value)
            fields[_MQTT5[identifier]] = m.QoS(value) if identifier == 0x24 else value
        codes = getattr(m, f"{stem}ReasonCode", None)
        if "reason" in fields:
            fields["reason_code"] = codes(fields.pop("reason"))
        if "reasons" in fields:
            fields["reason_codes"] = [codes(code) for code in fields.pop("reasons")]
        if kind == "PUBLISH":
            fields["qos"] = m.QoS(fields["qos"])
            fields["duplicate"] = fields.pop("dup")
            fields["packet_id"] = fields["packet_id"] or None
        return bytes(getattr(m, f"{stem}Packet")(**fields).write())


# names that mqtt-packet uses for the properties
_NPM = {
    0x01: "payloadFormatIndicator",
    0x02: "messageExpiryInterval",
    0x03: "contentType",
    0x08: "responseTopic",
    0x09: "correlationData",
    0x0B: "subscriptionIdentifier",
    0x11: "sessionExpiryInterval",
    0x12: "assignedClientIdentifier",
    0x13: "serverKeepAlive",
    0x15: "authenticationMethod",
    0x16: "authenticationData",
    0x17: "requestProblemInformation",
    0x18: "willDelayInterval",
    0x19: "requestResponseInformation",
    0x1A: "responseInformation",
    0x1C: "serverReference",
    0x1F: "reasonString",
    0x21: "receiveMaximum",
    0x22: "topicAliasMaximum",
    0x23: "topicAlias",
    0x24: "maximumQoS",
    0x25: "retainAvailable",
    0x26: "userProperties",
    0x27: "maximumPacketSize",
    0x28: "wildcardSubscriptionAvailable",
    0x29: "subscriptionIdentifiersAvailable",
    0x2A: "sharedSubscriptionAvailable",
}
_IDENTIFIERS = {name: identifier for identifier, name in _NPM.items()}


class MqttPacket:
    """The codec of npm mqtt-packet, in one Node process that answers all requests."""

    name = "mqtt-packet"

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            ["node", str(FOLDER / "mqtt_packet.mjs")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def close(self) -> None:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.close()
        self.process.wait(10)
        self.process.stdout.close()

    def _request(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self.process.stdin and self.process.stdout
        print(json.dumps(request), file=self.process.stdin, flush=True)
        response: dict[str, Any] = json.loads(self.process.stdout.readline())
        if "error" in response:
            raise RejectedError(response["error"])
        return response

    @staticmethod
    def _group(pairs: list[tuple[str, str]]) -> dict[str, list[str]]:
        """Return the user properties by name, as mqtt-packet decodes them.

        It drops an empty first value if another value with the same name follows.
        """
        out: dict[str, list[str]] = {}
        for name, value in pairs:
            if out.get(name) == [""]:
                out[name] = []
            out.setdefault(name, []).append(value)
        return out

    def decodable(self, packet: Packet) -> Packet:
        """Group the user properties by name."""
        packet = packet.copy()
        for properties in (packet.properties, (packet.fields.get("will") or {}).get("properties", {})):
            if USER in properties:
                properties[USER] = self._group(properties[USER])
        return packet

    def encodable(self, packet: Packet) -> Packet:
        """Order the user properties by name: first names that are numbers, as in a JavaScript object."""
        packet = packet.copy()
        pairs = packet.properties.get(USER, [])
        names = list(dict.fromkeys(name for name, _ in pairs))
        names.sort(key=lambda name: int(name) if re.fullmatch("0|[1-9][0-9]{0,8}", name) else 1 << 32)
        if pairs:
            packet.properties[USER] = [pair for name in names for pair in pairs if pair[0] == name]
        return packet

    @staticmethod
    def _bytes(value: Any) -> bytes:
        return bytes.fromhex(value["$hex"])

    def _properties(self, found: dict[str, Any] | None) -> dict[int, Any]:
        out: dict[int, Any] = {}
        for name, value in (found or {}).items():
            identifier = _IDENTIFIERS[name]
            if identifier == USER:
                value = {name: text if isinstance(text, list) else [text] for name, text in value.items()}
            elif PROPERTY_TYPES[identifier] == "byte":
                value = int(value)
            elif PROPERTY_TYPES[identifier] == "binary":
                value = self._bytes(value)
            elif identifier == SUBSCRIPTION_IDENTIFIER:
                value = value if isinstance(value, list) else [value]
            out[identifier] = value
        return out

    def decode(self, data: bytes) -> Packet:
        found = self._request({"decode": data.hex()})["packet"]
        kind = found["cmd"].upper()
        try:
            return Packet(kind, self._fields(kind, found), self._properties(found.get("properties")))
        except (KeyError, TypeError, AttributeError) as error:
            raise RejectedError(f"incomplete packet: {found}") from error

    def _fields(self, kind: str, p: dict[str, Any]) -> dict[str, Any]:
        if kind == "CONNECT":
            will = None
            if "will" in p:
                will = {name: p["will"][name] for name in ("qos", "retain", "topic")}
                will["payload"] = self._bytes(p["will"]["payload"])
                will["properties"] = self._properties(p["will"].get("properties"))
            return {
                "client_id": p["clientId"],
                "clean_start": p["clean"],
                "keep_alive": p["keepalive"],
                "user": p.get("username"),
                "password": self._bytes(p["password"]) if "password" in p else None,
                "will": will,
            }
        if kind == "CONNACK":
            return {"session_present": p["sessionPresent"], "reason": p["reasonCode"]}
        if kind == "PUBLISH":
            return {
                **{name: p[name] for name in ("topic", "qos", "retain", "dup")},
                "payload": self._bytes(p["payload"]),
                "packet_id": p.get("messageId") or 0,
            }
        if kind in ACKS:
            return {"packet_id": p["messageId"], "reason": p["reasonCode"]}
        if kind == "SUBSCRIBE":
            filters = [
                tuple(f[name] for name in ("topic", "qos", "nl", "rap", "rh")) for f in p["subscriptions"]
            ]
            return {"packet_id": p["messageId"], "filters": filters}
        if kind == "UNSUBSCRIBE":
            return {"packet_id": p["messageId"], "filters": p["unsubscriptions"]}
        if kind in ("SUBACK", "UNSUBACK"):
            return {"packet_id": p["messageId"], "reasons": p["granted"]}
        return {"reason": p["reasonCode"]} if kind in ("DISCONNECT", "AUTH") else {}

    def encode(self, packet: Packet) -> bytes | None:
        fields = dict(packet.fields)
        request: dict[str, Any] = {"cmd": packet.kind.lower()}
        for ours, theirs in (
            ("packet_id", "messageId"),
            ("reason", "reasonCode"),
            ("reasons", "granted"),
            ("session_present", "sessionPresent"),
        ):
            if ours in fields:
                request[theirs] = fields.pop(ours)
        if "payload" in fields:
            fields["payload"] = {"$hex": fields["payload"].hex()}
        request.update(fields)
        properties: dict[str, Any] = {}
        for identifier, value in packet.properties.items():
            if identifier == USER:
                value = {"$pairs": value}
            elif PROPERTY_TYPES[identifier] == "binary":
                value = {"$hex": value.hex()}
            elif PROPERTY_TYPES[identifier] == "byte" and identifier != 0x24:
                value = bool(value)
            properties[_NPM[identifier]] = value
        if properties:
            request["properties"] = properties
        return bytes.fromhex(self._request({"encode": request})["hex"])


def available_codecs() -> tuple[list[Any], list[str]]:
    """Return the installed codecs, and a message for each one that is missing."""
    available: list[Any] = [Ohmqtt()]
    missing = []
    if sys.version_info >= (3, 11):
        available.append(Mqtt5())
    else:
        missing.append("the codec mqtt5 needs Python 3.11")
    if shutil.which("node") and npm.is_installed(FOLDER):
        available.append(MqttPacket())
    else:
        missing.append("the codec mqtt-packet is not installed; it needs node and npm. Try: make interop")
    return available, missing
