"""The colours of sheet and video, uint8 RGB; those of the skeleton are the model's own."""

Colour = tuple[int, int, int]

PAPER, INK = (255, 255, 255), (25, 25, 25)
FAINT = (225, 225, 225)
ALARM = (200, 0, 0)
# Over the driving frame.
PERSON = (255, 255, 0)
REPAINTED = (0, 255, 0)
FACE = (0, 230, 255)
PEOPLE = (255, 255, 255)
RULER = (255, 255, 255)
CUT = (255, 0, 0)
