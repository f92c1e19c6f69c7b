"""The device application: config, Wi-Fi, telemetry, commands, discovery, over-the-air updates and sleep."""
