"""The admin surface as data: a file for each area, with one function `router` that is given what the area needs."""
