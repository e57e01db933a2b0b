"""The kernel that executes a notebook: an ordinary one that ends together with the runner that started it."""

from companion.core.process import die_with_parent

if __name__ == "__main__":
    die_with_parent()

    from ipykernel.kernelapp import launch_new_instance

    launch_new_instance()
