"""Images, the sources that read them, and splits into training, calibration and test."""
