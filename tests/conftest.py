"""What holds for every test: the time that hypothesis takes to draw is the machine's affair, and fails nothing."""

from hypothesis import HealthCheck, settings

settings.register_profile("waggle", suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("waggle")
