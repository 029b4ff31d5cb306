"""Routes that give labels, change them or take them away."""
