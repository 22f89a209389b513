"""The sampling of a clip: settings, solvers, segments, journal and loop."""
