"""What distances on features are called."""

# only distances on Inception's own features bear these names
OFFICIAL = {"frechet": "FID", "kernel": "KID"}
OTHERWISE = {"frechet": "Fréchet", "kernel": "kernel distance"}


def label(distance: str, network: str) -> str:
    """What a distance is called in tables, claims and on axes.

    >>> label("frechet", "inception"), label("frechet", "lite0"), label("kernel", "classifier")
    ('FID', 'Fréchet (lite0)', 'kernel distance (classifier)')
    """
    return OFFICIAL[distance] if network == "inception" else f"{OTHERWISE[distance]} ({network})"
