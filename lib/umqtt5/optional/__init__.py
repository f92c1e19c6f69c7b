"""Optional features of the client. Internal: the client loads each module when its feature is first used."""
