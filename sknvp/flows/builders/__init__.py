"""Builders of flows: from settings, or from a specification that pickles carry, to a flow."""
