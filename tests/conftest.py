"""Eight virtual CPU devices for every test, so that sharded runs are ordinary tests; set before JAX starts."""

import os

os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8".strip()
