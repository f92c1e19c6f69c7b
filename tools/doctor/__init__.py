"""`make doctor`: what is wrong between this computer, a board and a broker, and what to type."""
