"""What a run takes in memory, hours and money, on paper: pure functions of params, model shapes and hardware."""
