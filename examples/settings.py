"""Settings of all examples: network, broker, certificates. Copy this file to the board; see README.md."""

WIFI_SSID = "SSID"
WIFI_PASSWORD = "PASSWORD"

BROKER = "localhost"  # on a board: name or address of the computer on which the broker runs
PORT = 1883
CLIENT_ID = "example"  # each client of a broker needs its own

# for brokers that use TLS
TLS_PORT = 8883
CA = "ca.pem"  # certificate of the authority that has signed the broker's certificate

# for brokers that ask for a user name and a password
USER = "user"
PASSWORD = "password"

# for brokers that ask for a client certificate
CERT = "device.crt"
KEY = "device.key"
