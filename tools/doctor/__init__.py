"""`make doctor`: finds problems of this computer, a board and a broker, and suggests remedies."""
