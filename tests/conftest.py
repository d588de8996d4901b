"""What holds for every test: how long hypothesis takes to draw is the machine's affair (its tables are made in the first
run of a clone), and fails nothing."""

from hypothesis import HealthCheck, settings

settings.register_profile("waggle", suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("waggle")
