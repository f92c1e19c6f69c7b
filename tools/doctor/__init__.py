"""`make doctor`: finds problems between this computer, a board and a broker, and suggests a remedy."""
