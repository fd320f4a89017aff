"""What the command line does, as calls. `from runner import load, validate, plan, apply, resume, status` are those for everybody."""
