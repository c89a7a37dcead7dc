"""Training: batches, augmentation, the model, schedules, the loop, the LR test."""
