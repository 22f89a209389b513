"""What a verdict can say of a clip, apart from how it is found, which takes libraries to read."""

GOOD, WARNING, BAD, NOT_JUDGED = "good", "warning", "bad", "not judged"
