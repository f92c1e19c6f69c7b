"""`make monitor`: what the devices on a broker say, in the terminal or on a page."""
