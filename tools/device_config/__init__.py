"""The config of a device on this computer: config.json, its validation, and its backup during flashing."""
