"""The tracks of the two schemes as the Card Generation Interface, version 12, gives them, and the check digit."""

NAME = r"(?P<name>[A-Z0-9 .\-]*/[A-Z0-9 .\-]*)"

# The two schemes' tracks, from the first digit to the last.
TRACKS = {
    "mastercard": {
        "TRACK1": r"B(?P<pan>\d{16})\^" + NAME + r"\^(?P<expiry>\d{4})(?P<service>\d{3})00000(?P<cvv>\d{3})0000000",
        "TRACK2": r"(?P<pan>\d{16})=(?P<expiry>\d{4})(?P<service>\d{3})000000(?P<validity>\d\d)(?P<cvv>\d{3})(?P<psn>\d\d)",
        "CHIP": r"(?P<pan>\d{16})D(?P<expiry>\d{4})(?P<service>\d{3})000000(?P<validity>\d\d)(?P<cvv>\d{3})(?P<psn>\d\d)F",
    },
    "visa": {
        "TRACK1": r"B(?P<pan>\d{13,19})\^" + NAME + r"\^(?P<expiry>\d{4})(?P<service>\d{3})00(?P<cvv>\d{3})000000",
        "TRACK2": r"(?P<pan>\d{13,19})=(?P<expiry>\d{4})(?P<service>\d{3})(?P<cvv>\d{3})00000",
        "CHIP": r"(?P<pan>\d{13,19})D(?P<expiry>\d{4})(?P<service>\d{3})(?P<cvv>\d{3})00000F?",
    },
}


def luhn(pan):
    digits = [int(d) for d in reversed(pan)]
    return (sum(digits[::2]) + sum(sum(divmod(2 * d, 10)) for d in digits[1::2])) % 10 == 0
