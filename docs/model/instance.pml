/* instance.pml: one instance, from the first connect to the last close.
 *
 * Clients dial, daemons are started by them (or by a person, in the foreground), serve, are idle, are stopped, are upgraded in
 * place. Everybody is killed at any step, files are removed at any moment, starts fail. One atomic block is one system call, or
 * what one mutex makes one, or several of which nobody else sees more than the last.
 *
 * P1  at most one daemon serves
 * P2  lock acquired => nobody serves
 * P3  after welcome a daemon does not leave by itself
 * P4  nobody unlinks or renames over another's live socket (P4p: its pid file)
 * P5  no client is told of an error that nobody made
 * P6  an upgrade never frees the lock
 * ends (LTL)  every client ends
 *
 * A name after "@" is the Go function that does it. TestModelNamesWhatIsThere fails when there is none of that name. */

#ifndef NC
#define NC 2          /* clients: 2 or 3 */
#endif
#ifndef ND
#define ND 2          /* places for daemons: 2 or 3. That of a dead one is used again, so there is no end of daemons */
#endif
#ifndef KILLS
#define KILLS 0       /* SIGKILLs of a daemon, at any step */
#endif
#ifndef CKILLS
#define CKILLS 0      /* SIGKILLs of a client, at any step; the end of its patience looks the same to others */
#endif
#ifndef CLEANS
#define CLEANS 0      /* how often somebody removes the lock file, the socket, or everything */
#endif
#ifndef SOCKCLEANS
#define SOCKCLEANS 0  /* how often somebody removes the socket */
#endif
#ifndef TERMS
#define TERMS 0       /* SIGTERMs of a daemon, at any step; a client's request to stop is the same */
#endif
#ifndef FAILS
#define FAILS 0       /* starts that fail: no space, a bad program, ... */
#endif
#ifndef UPGRADES
#define UPGRADES 0    /* upgrades in place that are asked for */
#endif
#ifndef XFAILS
#define XFAILS 0      /* execs that fail: no such file, not executable, ... */
#endif
#ifndef FOREGROUND
#define FOREGROUND 0  /* daemons that a person starts */
#endif
#ifndef EARLY
#define EARLY 1       /* daemons that are idle before they have served anybody: IdleExit is short, the machine slow */
#endif
#ifndef IDLE
#define IDLE 1        /* 0: there is no IdleExit, a daemon stays for ever */
#endif
#ifndef NOGUARD
#define NOGUARD 0     /* 1: there are no abstract sockets, as on macOS, or somebody squats on the name */
#endif

#define NI (2 + CLEANS)              /* inodes that the lock file can have, counted from 1 */
#define CBIT (1 << c)                /* client c, of 0 .. NC-1 */
#define DBIT (1 << (NC - 1 + d))     /* daemon d, of 1 .. ND */
#define STALE 9                      /* a file that nobody is behind */

/* The properties. An assertion has its own in it, so that Spin's message names it; a wrong design is asked for the one that it is
 * about. In a run with WEAK, which is about what lasts, a moment's two are let pass. */
#ifdef WEAK
bit P1 = 1, P2 = 1, P3 = 1, P4 = 1, P4p = 1, P5 = 1, P6 = 1;
#else
bit P1, P2, P3, P4, P5, P6;
#ifdef BAD
bit P4p = 1;
#else
bit P4p;
#endif
#endif

byte guards;             /* who has the guard's descriptor, a set: it is free when nobody has */
byte path;               /* the inode that the lock's path names; 0: no file */
byte inodes;             /* that were made: a number is not given again while somebody has the file open */
byte holders[NI];        /* who has the locked description of inode i, a set: flock(2) is released by the last close */
byte sock;               /* whose socket hob.sock is; 0: no file */
byte pidfile;            /* whose pid is in hob.pid; 0: no file */
byte failures;           /* counted failures that the lock file's record has seen */

/* Daemons. */
#define UNUSED 0
#define RUNS 1
#define DYING 2          /* the kernel closes what it had open, in its own time and order */
byte st[ND + 1];
bit term[ND + 1], listens[ND + 1], serves[ND + 1], alone[ND + 1], upgrading[ND + 1];
byte starter[ND + 1];    /* the client at the other end of the readiness channel, + 1; 0: none */
byte inherited[ND + 1];  /* inode of the lock that was handed over; 0: none was */
byte serving;            /* how many do */

/* Clients. */
#define DONE 1           /* welcomed, or told why not */
#define KILLED 2
byte result[NC];         /* 0: still at it */
#define READY 1
#define FAILURE 2
#define EOF 3            /* the daemon was killed, or told to stop, before it was ready */
byte channel[NC];        /* the readiness channel */
#define QUEUED 1         /* connected, hello is sent */
#define LEASED 2         /* accepted, and has its lease */
#define WELCOME 3
#define DRAINING 4
#define LOST 5           /* reset, or end of file */
byte conn[NC], peer[NC]; /* a client's connection, and to whom */
bit lease[NC];           /* peer[c] has a lease of c's */

byte kills = KILLS, ckills = CKILLS, cleans = CLEANS, sockcleans = SOCKCLEANS, terms = TERMS, fails = FAILS;
byte upgrades = UPGRADES, xfails = XFAILS, foreground = FOREGROUND, early = EARLY;

#define LIVE(s) ((s) != 0 && (s) != STALE && listens[((s) == STALE -> 0 : (s))])
#define ANOTHERS(f) ((f) != 0 && (f) != STALE && (f) != d && st[((f) == STALE -> 0 : (f))] == RUNS)
#define UPGRADING (upgrading[1] || upgrading[2] || upgrading[ND])
#define HIS(c) (peer[c] == d && lease[c])
#if NC == 3
#define LEASES (HIS(0) || HIS(1) || HIS(2))
#else
#define LEASES (HIS(0) || HIS(1))
#endif
#ifdef BAD_LOOK_WITH_LOCK_SH
bit shared[NC];          /* its look at the lock is under way */
#define FREE(i) (holders[i] == 0 && !shared[0] && !shared[1])
#else
#define FREE(i) (holders[i] == 0)
#endif

/* Those who wait at daemon d, from state `from` on, see `what`. */
inline answer(from, what) {
  k = 0;
  do
  :: k < NC ->
     if :: peer[k] == d && conn[k] >= from && conn[k] <= WELCOME -> conn[k] = what; lease[k] = 0 :: else fi;
     k++
  :: else -> break
  od;
  k = 0
}

inline rule() { serves[d] = 1; serving++; assert(P1 || serving <= 1) }
inline abdicate() { if :: serves[d] -> serves[d] = 0; serving-- :: else fi }
inline tell(what) {
  if :: starter[d] != 0 -> if :: result[starter[d] - 1] == 0 -> channel[starter[d] - 1] = what :: else fi :: else fi;
  starter[d] = 0
}
inline openlock(x) { if :: path == 0 -> inodes++; path = inodes :: else fi; x = path } /* open(2) with O_CREAT */
inline let(who, i) { holders[i] = holders[i] & ~(who) }

proctype Client(byte c) {
  byte i, d, began;
  {
    began = failures;
again:
    /*@ hob.dialer.dial */ /*@ probe.Contact */ /*@ ipc.Connect */
    atomic {
      conn[c] = 0; peer[c] = 0; lease[c] = 0; channel[c] = 0; i = 0;
      if
      :: LIVE(sock) -> peer[c] = sock; conn[c] = QUEUED; printf("client %d: connects to daemon %d\n", c, sock); goto hello
      :: else -> printf("client %d: nobody listens\n", c)
      fi
#ifdef BAD_CLIENT_UNLINKS
      ; d = sock
#endif
    };
#ifdef BAD_CLIENT_UNLINKS
    atomic {
      if
      :: d != 0 -> d = 0; printf("client %d: unlinks the stale socket\n", c); assert(P4 || !LIVE(sock)); sock = 0
      :: else
      fi
    };
#endif
#ifdef BAD_LOOK_WITH_LOCK_SH
    atomic {
      if
      :: path == 0
      :: path != 0 && holders[path] == 0 -> shared[c] = 1; printf("client %d: LOCK_SH: nobody has the lock\n", c)
      :: path != 0 && holders[path] != 0 -> printf("client %d: LOCK_SH: held\n", c); goto again
      fi
    };
    shared[c] = 0;
#endif
#if !NOGUARD && !defined(BAD_GUARD_AFTER_LOCK)
    /*@ spawn.Starter.Start */ /*@ lock.TryGuard */
    atomic {
      if
      :: guards == 0 -> guards = CBIT; printf("client %d: has the guard\n", c)
      :: else -> printf("client %d: the guard is held\n", c); goto held
      fi
    };
#endif
open:
    /*@ lock.TryAcquire */ /*@ lock.open */
    atomic { openlock(i); printf("client %d: opens inode %d\n", c, i) };
    /*@ lock.flock */
    atomic {
      if
      :: FREE(i) -> holders[i] = CBIT; printf("client %d: locks inode %d\n", c, i)
      :: else -> printf("client %d: the lock is held\n", c); i = 0; goto unguard
      fi
    };
    /*@ lock.Lock.Current */
    atomic {
      if
      :: path == i
      :: else -> printf("client %d: that is not the lock file any more\n", c); let(CBIT, i); goto open
      fi
    };
#ifdef BAD_GUARD_AFTER_LOCK
    atomic {
      if
      :: guards == 0 -> guards = CBIT; printf("client %d: has the guard\n", c)
      :: else -> printf("client %d: the guard is held\n", c); let(CBIT, i); goto held
      fi
    };
#endif
    atomic {
      printf("client %d: may start one\n", c);
      assert(P6 || !UPGRADING);
      assert(P2 || serving == 0);
      /*@ spawn.Starter.attempt */ /*@ spawn.Starter.since */
      if
      :: failures > began -> printf("client %d: a start has failed meanwhile\n", c); goto fail
      :: else
      fi
    };
    /*@ spawn.Starter.exec */ /*@ spawn.Starter.start */
    atomic {
      if :: st[1] == UNUSED -> d = 1 :: st[1] != UNUSED && st[2] == UNUSED -> d = 2
#if ND == 3
         :: st[1] != UNUSED && st[2] != UNUSED && st[3] == UNUSED -> d = 3
#endif
      fi;
      st[d] = RUNS; starter[d] = c + 1; inherited[d] = i; holders[i] = holders[i] | DBIT;
#if !NOGUARD
      guards = guards | DBIT;
#endif
      printf("client %d: starts daemon %d with the lock\n", c, d);
      d = 0
    };
    /*@ spawn.awaited.wait */
    if
    :: atomic { channel[c] == READY -> printf("client %d: ready\n", c) }
    :: atomic { channel[c] == FAILURE -> printf("client %d: the start has failed\n", c); failures++; goto fail } /*@ lock.Lock.WriteRecord */
    :: atomic { channel[c] == EOF -> printf("client %d: it has died before it was ready\n", c) }
    fi;
    /*@ lock.Lock.Close */
    atomic { let(CBIT, i); i = 0 };
    /*@ lock.Guard.Close */
    atomic { guards = guards & ~CBIT; if :: channel[c] == EOF -> goto again :: else -> channel[c] = 0 fi };
    /*@ hob.dialer.greet */
hello:
    /*@ probe.Greet */
    if
    :: atomic { conn[c] == WELCOME -> printf("client %d: welcome\n", c) }
    :: atomic { conn[c] == DRAINING -> printf("client %d: draining\n", c); goto again }
    :: atomic { conn[c] == LOST -> printf("client %d: lost\n", c);
         assert(P5 || kills < KILLS || terms < TERMS && upgrades < UPGRADES || fails < FAILS || xfails < XFAILS || cleans < CLEANS || sockcleans < SOCKCLEANS);
         goto again } /* nothing was asked yet, so asking again is safe */
    fi;
    /* It works with the daemon as long as it likes. */
    atomic {
      assert(P3 || conn[c] != WELCOME || !alone[peer[c]]);
      conn[c] = 0; peer[c] = 0; lease[c] = 0; result[c] = DONE; printf("client %d: done\n", c); goto gone
    };
unguard:
    guards = guards & ~CBIT;
held:
    /*@ hob.dialer.start */ /*@ spawn.Starter.Adopt */
    atomic {
      if
      :: failures > began -> printf("client %d: the failure is its answer, too\n", c); goto fail
      :: else -> goto again /*@ hob.dialer.wait */
      fi
    };
fail:
    atomic {
      assert(P5 || fails < FAILS || cleans < CLEANS);
      let(CBIT, i); i = 0
    };
    atomic { guards = guards & ~CBIT; conn[c] = 0; peer[c] = 0; channel[c] = 0; result[c] = DONE; printf("client %d: done, with an error\n", c) };
gone:
    skip
  } unless { result[c] == KILLED };
  /* What the kernel closes of one that was killed. Of another there is nothing left. */
  if
  :: atomic { result[c] == KILLED -> guards = guards & ~CBIT }; let(CBIT, i)
  :: atomic { result[c] == KILLED -> let(CBIT, i) }; guards = guards & ~CBIT
  :: else
  fi;
  atomic { conn[c] = 0; peer[c] = 0; lease[c] = 0; channel[c] = 0; i = 0; d = 0; began = 0
#ifdef BAD_LOOK_WITH_LOCK_SH
    ; shared[c] = 0
#endif
  }
}

proctype Daemon(byte d) {
  byte i, j, k;
  bit got, yield;
#ifdef BAD_IDLE_LOOKS_THEN_LEAVES
  bit looked;
#endif
end_unused:
  st[d] != UNUSED;
  {
    if
    :: inherited[d] == 0 ->
       /*@ hob.server.acquire */ /*@ lock.TryGuard */
#if !NOGUARD
       atomic { if :: guards == 0 -> guards = DBIT; printf("daemon %d: has the guard\n", d) :: else -> tell(EOF); goto exit fi };
#endif
reopen:
       atomic { openlock(i) };
       atomic { if :: FREE(i) -> holders[i] = DBIT; printf("daemon %d: locks inode %d\n", d, i) :: else -> tell(EOF); goto exit fi };
       atomic {
         if
         :: path == i -> assert(P6 || !UPGRADING); assert(P2 || serving == 0)
         :: else -> let(DBIT, i); goto reopen
         fi
       }
    :: else ->
       /*@ hob.server.inherit */ /*@ lock.GuardFromFD */ /*@ hob.server.adoptLock */ /*@ lock.FromFile */
       atomic {
         i = inherited[d];
         if
         :: path == i
         :: else -> printf("daemon %d: its lock file was replaced\n", d); tell(FAILURE); goto exit /*@ hob.server.failed */
         fi
       }
    fi;
    /*@ hob.server.writeFiles */ /*@ hob.server.writeIdentity */ /*@ hob.server.load */
    atomic {
      assert(P4p || !ANOTHERS(pidfile));
      pidfile = d;
      if
      :: fails > 0 -> fails--; printf("daemon %d: can't load its state\n", d); tell(FAILURE); goto abandon
      :: listens[d] = 1 /*@ hob.server.bind */ /*@ ipc.Listen */ /*@ hob.server.helloSelf */
      fi
    };
    /*@ hob.server.publish */
    atomic {
      if
      :: path == i && !term[d]
      :: path == i && term[d] -> tell(EOF); goto abandon
      :: path != i -> printf("daemon %d: its lock file was replaced\n", d); tell(FAILURE); goto abandon
      fi
    };
    /*@ ipc.Listener.Publish */
    atomic { assert(P4 || !ANOTHERS(sock)); sock = d; printf("daemon %d: publishes its socket\n", d); rule() };
    /*@ hob.server.ready */ /*@ spawn.Report */ /*@ hob.server.serveConn */
    atomic {
      if
      :: starter[d] != 0 ->
         k = starter[d] - 1; tell(READY);
         if :: channel[k] == READY -> peer[k] = d; conn[k] = QUEUED /* its hello is as good as sent */ :: else fi;
         k = 0
      :: else
      fi
    };
live:
end_live:
    /*@ hob.server.live */
    do
    /* There is a goroutine for each of these. A client is not let in while there is something to mend, which in the code only the
     * scheduler sees to. */
    /*@ hob.server.accept */ /*@ hob.server.dispatch */ /*@ hob.connections.meet */
    :: atomic { path == i && conn[0] == QUEUED && peer[0] == d -> conn[0] = LEASED; lease[0] = 1 }
    :: atomic { path == i && conn[1] == QUEUED && peer[1] == d -> conn[1] = LEASED; lease[1] = 1 }
    /*@ hob.server.hello */
    :: atomic { conn[0] == LEASED && peer[0] == d -> got = 1; conn[0] = (path == i -> WELCOME : DRAINING) }
    :: atomic { conn[1] == LEASED && peer[1] == d -> got = 1; conn[1] = (path == i -> WELCOME : DRAINING) }
#if NC == 3
    :: atomic { path == i && conn[2] == QUEUED && peer[2] == d -> conn[2] = LEASED; lease[2] = 1 }
    :: atomic { conn[2] == LEASED && peer[2] == d -> got = 1; conn[2] = (path == i -> WELCOME : DRAINING) }
#endif
#ifndef BAD_NO_SELF_CHECK
    /*@ hob.server.keep */ /*@ hob.server.check */
    :: path != i -> goto relock
    :: path == i && sock != d -> goto republish
    :: atomic { path == i && sock == d && pidfile != d -> assert(P4p || !ANOTHERS(pidfile)); pidfile = d } /*@ hob.server.identityThere */
#endif
#if IDLE
    /*@ hob.server.watchIdle */ /*@ hob.connections.drainIdle */
#ifdef BAD_IDLE_COUNTS_REQUESTS
    :: atomic { (got || early > 0) && !(peer[0] == d && conn[0] == LEASED) && !(peer[1] == d && conn[1] == LEASED) ->
#elif defined(BAD_IDLE_LOOKS_THEN_LEAVES)
    :: atomic { (got || early > 0) && !LEASES && !looked -> looked = 1; printf("daemon %d: nobody needs it\n", d) }
    :: atomic { looked ->
#else
    :: atomic { (got || early > 0) && !LEASES ->
#endif
         if :: !got -> early-- :: else fi;
         printf("daemon %d: idle, leaves\n", d); alone[d] = 1; abdicate(); goto stop }
#endif
    :: atomic { term[d] -> printf("daemon %d: is told to stop\n", d); abdicate(); goto stop }
    :: atomic { upgrades > 0 -> upgrades--; upgrading[d] = 1; printf("daemon %d: upgrades\n", d); goto upgrade }
    od;

relock:
    /*@ hob.server.relock */ /*@ lock.TryAcquire */
    atomic { openlock(j) };
    atomic {
      if
      :: FREE(j) -> holders[j] = DBIT; printf("daemon %d: locks the new inode %d\n", d, j)
      :: else -> printf("daemon %d: another one rules, leaves and removes nothing\n", d); j = 0; yield = 1; abdicate(); goto stop
      fi
    };
    atomic {
      if
      :: path == j -> i = j; j = 0; goto live /* the old one stays open */
      :: else -> let(DBIT, j); goto relock
      fi
    };
republish:
    /*@ hob.server.republish */ /*@ ipc.Listener.Published */
    atomic {
      assert(P4 || !ANOTHERS(sock));
      assert(P4p || !ANOTHERS(pidfile));
      sock = d; pidfile = d; printf("daemon %d: publishes again\n", d);
      if :: answer(QUEUED, LOST) :: skip fi; /* who waits in the queue of the old one may see a reset */
      goto live
    };

upgrade:
    /* Upgrade in place: accept no more and read no more, write down the state and the intent, execute the next hobd. The pid, the lock,
     * the guard, the listener with its queue and the connections are kept. Until the new program has its handlers, TERM kills: see Env. */
    /*@ hob.server.upgrade */ /*@ hob.server.quiesce */ /*@ hob.server.resume */
    atomic {
      if
      :: upgrading[d] = 0; printf("daemon %d: somebody has a session, goes on\n", d); goto live
      :: printf("daemon %d: executes the next version\n", d) /*@ hob.server.become */ /*@ upgrade.Exec */
      :: xfails > 0 -> xfails--; printf("daemon %d: can't execute that, executes itself anew\n", d);
         if
         :: xfails > 0 -> xfails--; printf("daemon %d: can't do that either\n", d); upgrading[d] = 0; abdicate(); goto unpublish
         :: skip
         fi
      fi
#ifdef BAD_UPGRADE_CLOSES_THE_LOCK
      ; holders[i] = 0; guards = 0
#endif
    };
#ifdef BAD_UPGRADE_CLOSES_THE_LOCK
    atomic { holders[i] == 0 && guards == 0 -> holders[i] = DBIT; guards = DBIT };
#endif
    /*@ upgrade.Inherit */ /*@ hob.server.succeed */ /*@ hob.server.rebind */ /*@ hob.server.goOn */
    atomic {
      upgrading[d] = 0;
      if
      :: fails > 0 -> fails--; printf("daemon %d: the next version can't load the state\n", d); abdicate(); goto unpublish
      :: path != i -> printf("daemon %d: its lock file was replaced\n", d); goto relock
      :: path == i -> printf("daemon %d: the next version serves\n", d); goto live
      fi
    };

stop:
    /*@ hob.server.stop */ /*@ hob.connections.drain */
#ifdef BAD_EARLY_RELEASE
    atomic { let(DBIT, i); guards = guards & ~DBIT; printf("daemon %d: unlocks\n", d) };
#endif
    /*@ ipc.Listener.Unpublish */
    if
    :: sock == d && !yield -> atomic { assert(P4 || !ANOTHERS(sock)); sock = 0; printf("daemon %d: removes its socket\n", d) }
    :: else
    fi;
    /*@ ipc.Listener.AcceptPending */ /*@ hob.server.admit */ /*@ ipc.Listener.Close */ /*@ hob.connections.finish */
    atomic {
      listens[d] = 0;
#ifdef BAD_NO_DRAIN
      answer(QUEUED, LOST)
#else
      answer(QUEUED, DRAINING)
#endif
    };
leave:
    /*@ hob.server.end */ /*@ instance.Remove */
    atomic { if :: !yield -> assert(P4p || !ANOTHERS(pidfile)); pidfile = 0 :: else fi; printf("daemon %d: has removed its files\n", d) };
    /*@ lock.Guard.Close */
    atomic { guards = guards & ~DBIT; goto exit };
unpublish:
    if
    :: sock == d -> atomic { assert(P4 || !ANOTHERS(sock)); sock = 0 }
    :: else
    fi;
abandon:
    /*@ hob.server.abandon */
    atomic { listens[d] = 0; answer(QUEUED, LOST); goto leave };
exit:
    st[d] = DYING
  } unless { st[d] == DYING };
  /* The kernel closes what was open. */
  do
  :: atomic { guards & DBIT -> guards = guards & ~DBIT }
  :: atomic { i != 0 || inherited[d] != 0 ->
       k = 1;
       do :: k < NI -> let(DBIT, k); k++ :: else -> break od;
       k = 0; i = 0; j = 0; inherited[d] = 0 }
  :: atomic { listens[d] || starter[d] != 0 -> listens[d] = 0; answer(QUEUED, LOST); tell(EOF) }
  :: atomic { !(guards & DBIT) && i == 0 && inherited[d] == 0 && !listens[d] && starter[d] == 0 ->
       answer(QUEUED, LOST);
       if :: sock == d -> sock = STALE :: else fi;
       if :: pidfile == d -> pidfile = STALE :: else fi;
       term[d] = 0; alone[d] = 0; got = 0; yield = 0; j = 0;
       st[d] = UNUSED; printf("daemon %d: is gone\n", d); goto end_unused }
  od
}

/* Whatever may happen from outside, at any moment, or never. */
inline kill(x) { st[x] = DYING; upgrading[x] = 0; if :: serves[x] -> serves[x] = 0; serving-- :: else fi }
inline killdaemon(x) { kills--; printf("SIGKILL to daemon %d\n", x); kill(x) }
inline terminate(x) { terms--; printf("SIGTERM to daemon %d\n", x); if :: upgrading[x] -> kill(x) :: else -> term[x] = 1 fi }
inline killclient(x) { ckills--; printf("SIGKILL to client %d\n", x); result[x] = KILLED }

active proctype Env() {
end_env:
  do
#if KILLS
  :: atomic { kills > 0 && st[1] == RUNS -> killdaemon(1) }
  :: atomic { kills > 0 && st[2] == RUNS -> killdaemon(2) }
#if ND == 3
  :: atomic { kills > 0 && st[3] == RUNS -> killdaemon(3) }
#endif
#endif
#if TERMS
  :: atomic { terms > 0 && st[1] == RUNS && !term[1] -> terminate(1) }
  :: atomic { terms > 0 && st[2] == RUNS && !term[2] -> terminate(2) }
#if ND == 3
  :: atomic { terms > 0 && st[3] == RUNS && !term[3] -> terminate(3) }
#endif
#endif
#if CKILLS
  :: atomic { ckills > 0 && result[0] == 0 -> killclient(0) }
  :: atomic { ckills > 0 && result[1] == 0 -> killclient(1) }
#endif
#if CLEANS
  :: atomic { cleans > 0 && path != 0 -> cleans--; path = 0; printf("somebody removes the lock file\n") }
  :: atomic { cleans > 0 && sock != 0 -> cleans--; sock = 0; printf("somebody removes the socket\n") }
  :: atomic { cleans > 0 && path != 0 && sock != 0 -> cleans--; path = 0; sock = 0; pidfile = 0; printf("somebody removes everything\n") }
#endif
#if SOCKCLEANS
  :: atomic { sockcleans > 0 && sock != 0 -> sockcleans--; sock = 0; printf("somebody removes the socket\n") }
#endif
#if FOREGROUND
  :: atomic { foreground > 0 && st[ND] == UNUSED -> foreground--; st[ND] = RUNS; printf("somebody starts daemon %d in the foreground\n", ND) }
#endif
#ifdef LTL
  :: kills <= KILLS /* always: time goes by. Without it a stand-still would be no run */
#else
  :: false
#endif
  od
}

init {
  atomic {
    byte n = 1;
    do :: n <= ND -> run Daemon(n); n++ :: else -> break od;
    n = 0;
    do :: n < NC -> run Client(n); n++ :: else -> break od;
    n = 0
  }
}

ltl ends { <> (result[0] != 0 && result[1] != 0 && result[NC - 1] != 0) }
ltl one { <> [] (serving <= 1) }
