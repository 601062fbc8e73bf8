"""The parts that estimators are made of: parameters, rows, training, scores, and state for pickles."""
