"""The device application: config, network, telemetry, commands, health."""
