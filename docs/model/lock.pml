/* lock.pml: the lock file alone. Processes lock it, work, stop working, again and again; each is killed at any step.
 *
 * P1  at most one works
 *
 * Hob's design is without any of the words below. A name after "@" is the Go function that does it. */

#ifndef N
#define N 3           /* processes */
#endif
#ifndef KILLS
#define KILLS 0       /* SIGKILLs, at any step */
#endif
#ifndef CLEANS
#define CLEANS 0      /* how often somebody else removes the file */
#endif
/* BAD_UNLINK_THEN_UNLOCK   removes the file, then lets go of it
 * BAD_UNLOCK_THEN_UNLINK   lets go of it, then removes it
 * BAD_PID_FILE             there is no lock: who finds no pid of somebody that lives in the file writes its own
 * NO_CHECK                 does not look whether the locked file is still the one that the path names
 * LOOKED_UNLINK            removes the file while it has the lock and the path names it: right, but only with the check */

bit P1;
byte path;            /* the inode that the path names; 0: no file. An inode's number is used again when nobody has it open */
byte open[N + 1];     /* the inode that process p has open; 0: none */
byte owner[N + 2];    /* who has locked inode i */
byte named;           /* what the pid file says */
byte works;
bit in[N + 1], killed[N + 1];
byte kills = KILLS, cleans = CLEANS;

#if N == 4
#define USED(x) (path == (x) || open[1] == (x) || open[2] == (x) || open[3] == (x) || open[4] == (x))
#else
#define USED(x) (path == (x) || open[1] == (x) || open[2] == (x) || open[3] == (x))
#endif

inline begin() { in[p] = 1; works++; printf("%d: works\n", p); assert(P1 || works <= 1) }
inline finish() { if :: in[p] -> in[p] = 0; works--; printf("%d: has worked\n", p) :: else fi }

proctype Process(byte p) {
  byte i;
end_again:
  {
#ifdef BAD_PID_FILE
    atomic { if :: named == 0 || open[named] == 0 -> open[p] = 1; printf("%d: sees nobody's pid\n", p) :: else -> goto out fi };
    atomic { named = p; printf("%d: writes its pid\n", p) };
    atomic { begin() };
    atomic { finish() };
    atomic { named = 0; printf("%d: removes the pid file\n", p) };
#else
    /*@ lock.TryAcquire */ /*@ lock.open */
    atomic {
      if
      :: path == 0 ->
         i = 1;
         do :: USED(i) -> i++ :: else -> break od;
         path = i; printf("%d: makes the file, inode %d\n", p, i)
      :: else -> printf("%d: opens inode %d\n", p, path)
      fi;
      open[p] = path; i = 0
    };
    /*@ lock.flock */
    atomic {
      if
      :: owner[open[p]] == 0 -> owner[open[p]] = p; printf("%d: locks inode %d\n", p, open[p])
      :: else -> printf("%d: inode %d is locked\n", p, open[p]); goto out
      fi
    };
#ifndef NO_CHECK
    /*@ lock.Lock.Current */
    atomic { if :: path == open[p] -> printf("%d: it is still the file\n", p) :: else -> printf("%d: it is not the file any more\n", p); goto out fi };
#endif
    atomic { begin() };
    atomic { finish() };
#ifdef BAD_UNLINK_THEN_UNLOCK
    atomic { path = 0; printf("%d: unlinks\n", p) };
    atomic { owner[open[p]] = 0; printf("%d: unlocks\n", p) };
#endif
#ifdef BAD_UNLOCK_THEN_UNLINK
    atomic { owner[open[p]] = 0; printf("%d: unlocks\n", p) };
    atomic { path = 0; printf("%d: unlinks\n", p) };
#endif
#ifdef LOOKED_UNLINK
    if :: path == open[p] -> atomic { path = 0; printf("%d: unlinks its own\n", p) } :: else fi;
#endif
#endif
out:
    skip
  } unless { killed[p] };
  /*@ lock.Lock.Close */
  atomic { /* the end of the process, by itself or not, closes the file; that releases the lock */
    if :: open[p] != 0 && owner[open[p]] == p -> owner[open[p]] = 0; printf("%d: is gone, and its lock\n", p) :: else fi;
    open[p] = 0; finish(); killed[p] = 0; i = 0; goto end_again
  }
}

active proctype Env() {
end_env:
  do
#if KILLS
  :: atomic { kills > 0 && open[1] != 0 && !killed[1] -> kills--; killed[1] = 1; printf("SIGKILL to 1\n") }
  :: atomic { kills > 0 && open[N] != 0 && !killed[N] -> kills--; killed[N] = 1; printf("SIGKILL to %d\n", N) }
#endif
#if CLEANS
  :: atomic { cleans > 0 && path != 0 -> cleans--; path = 0; printf("somebody else removes the file\n") }
#endif
  :: false
  od
}

init { atomic { byte n = 1; do :: n <= N -> run Process(n); n++ :: else -> break od; n = 0 } }
