"""The port app: a listening port here that leads to one target behind another endpoint, without names or publishing."""
