"""The hub: the process that agents dial, which relays between them."""
