"""One optimiser step, printed: what a peer runs that starts a program for each job."""

from one_step import step

if __name__ == "__main__":
    print(step())
