"""How good a finished video is: figures from the video itself, whatever model made it."""
