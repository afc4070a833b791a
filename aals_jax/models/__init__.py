"""Dense detectors: ResNet backbone, feature pyramid, one-channel map."""
