"""What is asked for: a CreateTrainingJob request, read, checked and written. It starts nothing."""
