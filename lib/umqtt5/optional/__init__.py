"""Internal parts of the client, each loaded when it is first used."""
