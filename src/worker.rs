//! One process, one run: trains, then scores, and writes only inside its run directory.
