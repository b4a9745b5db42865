"""An exchange's history as a file, and carried out again in an empty exchange to see the same come of it."""
