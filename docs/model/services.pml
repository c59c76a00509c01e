/* services.pml: one service, and the hobds that come and go while it runs.
 *
 * At most one hobd is there at a time: that is what instance.pml shows. Here it is killed at any step, upgraded in place, told to
 * stop; the service ends by itself, leaves strays, drops its mark or its lock; files are removed and can't be written.
 *
 * P7  adoption never doubles a service: none is forked while its first process still runs, or a stray of the last run that has its mark,
 *     or of any that has the lock
 * P8  a recovery ends nothing that runs and is wanted
 * back (LTL)  in the end hobd is there, and the service runs if it is wanted
 *
 * A name after "@" is the Go function that does it. */

#ifndef KILLS
#define KILLS 1       /* SIGKILLs of hobd, at any step */
#endif
#ifndef SKILLS
#define SKILLS 0      /* SIGKILLs of the sentry */
#endif
#ifndef TERMS
#define TERMS 0       /* SIGTERMs of hobd: the service is stopped, and not wanted any more */
#endif
#ifndef UPGRADES
#define UPGRADES 0    /* upgrades in place */
#endif
#ifndef EXITS
#define EXITS 0       /* ends of the service by itself; it is restarted */
#endif
#ifndef STRAYS
#define STRAYS 0      /* ends that leave a child behind */
#endif
#ifndef DROPS
#define DROPS 0       /* how often a process of it drops its mark, or closes its lock */
#endif
#ifndef CLEANS
#define CLEANS 0      /* how often somebody removes the state, or everything */
#endif
#ifndef SAVEFAILS
#define SAVEFAILS 0   /* states that can't be written: no space */
#endif
#ifndef STARTS
#define STARTS 1      /* starts that are asked for */
#endif
#ifndef STOPS
#define STOPS 0       /* stops that are asked for */
#endif
#ifndef HEALER
#define HEALER 0      /* 1: there is always another call of hob */
#endif
#ifndef AT_ONCE
#define AT_ONCE 0     /* 1: a process may drop its mark and its lock, both, before its pid is written down */
#endif

#define NP 3                    /* places for processes of the service */
#define NF (2 + CLEANS)         /* inodes of its lock file, counted from 1 */
bit P7, P8;

byte ilock;                     /* how many have the instance's lock */
bit up, wanted, asked, dying;   /* hobd is there; one is to be started; the service is to be started; hobd was killed */
bit term, sentry, adopted, stop;

/* What is on disk. */
#define NONE 0                  /* no file */
#define DOWN 1
#define ALIVE 2                 /* starting or running */
#define STOPPING 3
#define BACKOFF 4
byte dstate, dgen, dpid;
bit dwant;
byte spath;                     /* the inode that svc/NAME.lock names; 0: no file */
byte sinodes;

/* The processes of the service. */
bit alive[NP + 1], lead[NP + 1], marked[NP + 1], forked[NP + 1]; /* forked: not executed yet, so it has all that hobd has, and no mark */
byte gen[NP + 1], has[NP + 1];  /* its generation; the inode of svc/NAME.lock that it has open; 0: none */
byte hobdhas;                   /* the one that hobd has, on the way to a process */

byte kills = KILLS, skills = SKILLS, terms = TERMS, upgrades = UPGRADES, exits = EXITS, strays = STRAYS, drops = DROPS, cleans = CLEANS;
byte savefails = SAVEFAILS, starts = STARTS, stops = STOPS;

#define LIVES (alive[1] || alive[2] || alive[3])
#define ANOTHER(p) ((alive[1] && lead[1] && p != 1) || (alive[2] && lead[2] && p != 2) || (alive[3] && lead[3] && p != 3))
#define FINDABLE(q, p) (alive[q] && p != q && (marked[q] && gen[q] == g - 1 || has[q] == spath && spath != 0))
#define REST(p) (FINDABLE(1, p) || FINDABLE(2, p) || FINDABLE(3, p))
#define LOCKED(i) ((alive[1] && has[1] == i) || (alive[2] && has[2] == i) || (alive[3] && has[3] == i))

/*@ supervisor.svc.publish */ /*@ store.Store.Save */
inline save() {
  if
  :: savefails > 0 -> savefails--; printf("hobd: can't write the state\n")
  :: dstate = state; dgen = g; dpid = cur; dwant = want
  fi
}
inline die(q) { alive[q] = 0; has[q] = 0; marked[q] = 0; if :: forked[q] -> forked[q] = 0; ilock-- :: else fi; lead[q] = 0; gen[q] = 0 }
/* Whoever is found by the leader's pid, by a mark, by the lock. */
inline endall() {
  q = 1;
  do
  :: q <= NP ->
     if
     :: alive[q] && (q == cur || marked[q] || has[q] != 0 && has[q] == spath) -> printf("hobd: ends process %d\n", q); die(q)
     :: else
     fi;
     q++
  :: else -> break
  od;
  q = 0
}

active proctype Hobd() {
  byte state, g, cur, q, found;
  bit want;
end_none:
  /*@ spawn.Starter.Start */ /*@ hob.Serve */
  atomic { wanted && ilock == 0 -> wanted = 0; ilock = 1; up = 1; printf("hobd: is there\n") };
  {
    skip;
load:
    /*@ daemon.daemon.load */ /*@ store.Store.Load */
    atomic { state = dstate; g = dgen; cur = dpid; want = dwant; adopted = 0 };
#ifdef BAD_ANSWERS_BEFORE_IT_HAS_ADOPTED
    if :: atomic { asked -> state = DOWN; cur = 0 }; goto live :: skip fi;
#endif
    /*@ daemon.daemon.run */ /*@ supervisor.Supervisor.Adopt */ /*@ supervisor.Supervisor.marked */ /*@ process.FindMarked */
    atomic {
      q = 1; found = 0;
#ifndef BAD_NO_MARK
      do
      :: q <= NP ->
         if :: alive[q] && lead[q] && marked[q] && (gen[q] >= g || state == NONE) && (found == 0 || gen[q] > gen[found]) -> found = q :: else fi;
         q++
      :: else -> break
      od;
#endif
      q = 0;
      /*@ supervisor.Supervisor.rebuilt */
      if :: state == NONE && found != 0 -> state = ALIVE; g = gen[found]; want = 1; cur = found; printf("hobd: makes up the state\n") :: else fi;
      /*@ supervisor.Supervisor.advanced */
      if :: state != NONE && found != 0 && gen[found] > g -> state = ALIVE; g = gen[found]; want = 1; cur = found; printf("hobd: finds a run that was not written down\n") :: else fi;
      if :: state == NONE -> state = DOWN :: else fi
    };
    /*@ supervisor.svc.adopt */ /*@ supervisor.svc.find */ /*@ process.Adopt */
    atomic {
      if
      :: state == ALIVE || state == STOPPING ->
         if
         :: cur != 0 && alive[cur] && lead[cur] && gen[cur] == g -> found = cur
         :: cur != 0 && !(alive[cur] && lead[cur] && gen[cur] == g) -> found = 0
         :: cur == 0
         fi;
         if
         :: found != 0 -> cur = found; printf("hobd: adopts process %d\n", cur) /*@ supervisor.svc.adopted */
         :: found == 0 && state == ALIVE -> cur = 0; state = BACKOFF; printf("hobd: the run has ended meanwhile, or was never begun\n") /*@ supervisor.svc.missed */ /*@ supervisor.svc.endedUnseen */
         :: found == 0 && state == STOPPING -> cur = 0 /*@ supervisor.svc.resumeStop */
         fi
      :: else -> cur = 0 /*@ supervisor.svc.remains */
      fi;
      found = 0
    };
    atomic { save() };
#ifndef BAD_NO_SENTRY
    /*@ daemon.guardian.adopted */ /*@ sentry.Keeper.Sync */
    sentry = 1;
#endif
    adopted = 1;
live:
end_live:
    /*@ supervisor.svc.loop */ /*@ supervisor.svc.handle */
    do
    :: atomic { state == STOPPING -> goto stopping }
    :: atomic { asked && state != STOPPING -> asked = 0; want = 1; if :: state == ALIVE :: else -> goto spawn fi }
    :: atomic { state == BACKOFF && want -> goto spawn } /*@ supervisor.svc.retryLater */
    /*@ supervisor.svc.watch */ /*@ supervisor.svc.ended */
    :: atomic { state == ALIVE && !(alive[cur] && lead[cur]) -> cur = 0; state = BACKOFF; save() }
    :: atomic { stop && state != STOPPING -> stop = 0; want = 0; if :: state == ALIVE -> state = STOPPING; save() :: else -> state = DOWN; save() fi } /*@ supervisor.svc.terminate */ /*@ supervisor.svc.stopRest */
    /*@ daemon.daemon.stop */ /*@ supervisor.Supervisor.StopAll */
    :: atomic { term && state != STOPPING -> want = 0; if :: state == ALIVE -> state = STOPPING; save() :: else -> state = DOWN; save(); goto leave fi }
#ifndef BAD_NO_SENTRY
    :: atomic { !sentry && adopted -> sentry = 1 } /*@ sentry.Keeper.tend */
#endif
    /* In place: everything that is only in memory is gone, the instance's lock is not. */
    :: atomic { upgrades > 0 && adopted -> upgrades--; printf("hobd: becomes the next version\n"); state = 0; g = 0; cur = 0; want = 0; goto load } /*@ daemon.daemon.handover */
    od;

spawn:
    /*@ supervisor.svc.spawn */ /*@ supervisor.svc.exec */ /*@ supervisor.svc.endRest */
#ifndef BAD_NO_SERVICE_LOCK
    /*@ supervisor.svc.takeLock */
    atomic {
      if :: spath == 0 -> sinodes++; spath = sinodes :: else fi;
      q = 1;
      do
      :: q <= NP ->
         if
         :: alive[q] && (has[q] == spath || gen[q] == g && marked[q]) ->
            assert(P8 || !lead[q] || !marked[q]);
            printf("hobd: ends process %d, a stray\n", q); die(q)
         :: else
         fi;
         q++
      :: else -> break
      od;
      q = 0; hobdhas = spath
    };
#endif
    atomic {
      g++; cur = 0; state = ALIVE;
#ifndef STATE_AFTER_THE_FORK_ONLY
      save()
#endif
    };
    /*@ process.Start */
    atomic {
      q = (!alive[1] -> 1 : (!alive[2] -> 2 : 3));
      !alive[q];
      assert(P7 || !ANOTHER(q)); assert(P7 || !REST(q));
      alive[q] = 1; lead[q] = 1; gen[q] = g; has[q] = hobdhas; forked[q] = 1; ilock++; printf("hobd: forks process %d, generation %d\n", q, g);
      cur = q; q = 0
    };
    !forked[cur]; /* the pipe of fork and exec */
    /*@ supervisor.svc.take */
    atomic { hobdhas = 0; save(); goto live };

stopping:
    /*@ process.Process.Terminate */
    atomic { if :: cur != 0 && alive[cur] -> printf("hobd: ends process %d\n", cur); die(cur) :: else fi };
    atomic { endall(); goto gone };
gone:
    /*@ supervisor.svc.gone */
    atomic {
      state = DOWN; cur = 0; save();
      if :: term -> goto leave :: else -> goto live fi
    };
leave:
    /*@ daemon.guardian.leave */ /*@ sentry.Keeper.Close */
    atomic { sentry = 0; goto exit };
exit:
    dying = 1
  } unless { dying };
  /* Of one that was killed, and of one that has left. */
  atomic { hobdhas = 0; ilock--; up = 0; adopted = 0; dying = 0; term = 0; state = 0; g = 0; cur = 0; want = 0; q = 0; found = 0; printf("hobd: is gone\n"); goto end_none }
}

/*@ daemon.watchman.relieve */ /*@ sentry.Relief.Run */ /*@ daemon.watchman.need */ /*@ daemon.watchman.call */
active proctype Sentry() {
end_watch:
  do
  :: atomic { sentry && !up && !wanted && ilock == 0 ->
       if
       :: LIVES || dstate == ALIVE || dstate == STOPPING || dstate == BACKOFF -> wanted = 1; printf("sentry: starts hobd\n")
       :: else -> sentry = 0; printf("sentry: nobody needs hobd\n")
       fi }
  od
}

/* The child between fork and exec, and what a service does. */
proctype Service(byte p) {
end_none:
  do
  :: atomic { alive[p] && forked[p] ->
       marked[p] = 1; printf("process %d: is executed\n", p);
#ifdef BAD_SERVICE_INHERITS_THE_INSTANCE_LOCK
       skip
#else
       ilock--
#endif
       ; forked[p] = 0 }
#if EXITS
  :: atomic { alive[p] && lead[p] && !forked[p] && exits > 0 -> exits--; printf("process %d: ends\n", p); die(p) }
#endif
#if STRAYS
  :: atomic { alive[p] && lead[p] && !forked[p] && strays > 0 -> strays--; printf("process %d: ends, and leaves a child\n", p); lead[p] = 0 }
#endif
#if DROPS
  :: atomic { alive[p] && !forked[p] && drops > 0 && marked[p] && (AT_ONCE || has[p] != 0 || dpid == p && dgen == gen[p]) ->
       drops--; marked[p] = 0; printf("process %d: drops its mark\n", p) }
  :: atomic { alive[p] && !forked[p] && drops > 0 && has[p] != 0 && (AT_ONCE || marked[p] || dpid == p && dgen == gen[p]) ->
       drops--; has[p] = 0; printf("process %d: closes its lock\n", p) }
#endif
  :: false
  od
}

/* Calls of hob that go on. */
active proctype Caller() {
end_calls:
  do
  :: atomic { asked && !up && !wanted && ilock == 0 -> wanted = 1; printf("whoever asked starts hobd again\n") } /*@ hob.dialer.dial */
#if HEALER
  :: atomic { !up && !wanted && ilock == 0 && (LIVES || dstate > DOWN) -> wanted = 1; printf("somebody calls hob\n") }
#endif
  :: false
  od
}

active proctype Env() {
end_env:
  do
  /* hob run, hob stop. */
  :: atomic { starts > 0 && !asked -> starts--; asked = 1; if :: !up -> wanted = 1 :: else fi; printf("somebody asks for a start\n") }
#if STOPS
  :: atomic { stops > 0 && up && adopted && !stop -> stops--; stop = 1; printf("somebody asks for a stop\n") }
#endif
#if KILLS
  :: atomic { kills > 0 && up && !dying -> kills--; dying = 1; printf("SIGKILL to hobd\n") }
#endif
#if SKILLS
  :: atomic { skills > 0 && sentry -> skills--; sentry = 0; printf("SIGKILL to the sentry\n") }
#endif
#if TERMS
  :: atomic { terms > 0 && up && !dying && !term -> terms--; term = 1; printf("SIGTERM to hobd\n") }
#endif
#if CLEANS
  :: atomic { cleans > 0 && dstate != NONE -> cleans--; dstate = NONE; dgen = 0; dpid = 0; dwant = 0; printf("somebody removes the state\n") }
#if CLEANS > 1
  :: atomic { cleans > 0 && spath != 0 -> cleans--; spath = 0; dstate = NONE; dgen = 0; dpid = 0; dwant = 0; printf("somebody removes everything\n") }
#endif
#endif
#ifdef LTL
  :: kills <= KILLS /* always: time goes by. Without it a stand-still would be no run */
#else
  :: false
#endif
  od
}

init { atomic { run Service(1); run Service(2); run Service(3) } }

#define RUNS ((alive[1] && lead[1]) || (alive[2] && lead[2]) || (alive[3] && lead[3]))
ltl back { <> [] (asked || dwant -> up && RUNS) }
