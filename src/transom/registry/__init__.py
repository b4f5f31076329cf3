"""What each model version is: rung, openness, licence, route. Declared in files, frozen while in force."""
